"""Building the native library: once, safely, and serving without it."""

import logging
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gemwire_kernels.cpu import NativeOps, PortableOps, bindings, build, make_ops
from gemwire_kernels.formats import FLOAT32
from support.kernels.cpu import needs_compiler


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nothing of this process' own library."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(bindings, "library", bindings.library.__wrapped__)
    return tmp_path / "gemwire"


def library_in_process(_: int) -> tuple[str, int]:
    path = build.library()
    return str(path), path.stat().st_mtime_ns


@needs_compiler
def test_processes_share_one_build(cache: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.map(library_in_process, range(3), chunksize=1)
    assert len(set(found)) == 1
    assert sorted(path.suffix for path in cache.iterdir()) == [".lock", ".so"]
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert library_in_process(0) == found[0]


@needs_compiler
def test_sources_and_compiler_name_the_library(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setattr(build, "_build", lambda command, target: built.append(target))
    build.library()
    monkeypatch.setattr(build, "FLAGS", ("-O1", *build.FLAGS))
    build.library()
    script(tmp_path / "another", "echo another 1.0")
    monkeypatch.setenv("CXX", str(tmp_path / "another"))
    build.library()
    assert len(set(built)) == 3


def script(path: Path, *lines: str) -> None:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


@pytest.mark.parametrize("damage", ["missing", "silent", "failing", "cache", "folder", "garbage"])
def test_without_a_library_the_portable_operations_serve(
    damage: str,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    compiler = tmp_path / "compiler"
    monkeypatch.setenv("CXX", str(compiler))
    script(compiler, "test $1 = --version && exit", "echo 'x.cpp:1: error: no' >&2", "exit 1")
    if damage == "missing":
        compiler.unlink()
    elif damage == "silent":
        script(compiler, "exit 1")
    elif damage == "cache":
        cache.mkdir(mode=0o777)
        cache.chmod(0o777)
    elif damage == "folder":
        cache.write_text("in the way")
    elif damage == "garbage":
        script(compiler, "test $1 = --version && exit", 'for last; do :; done; echo no > "$last"')
    with caplog.at_level(logging.WARNING):
        ops = make_ops(torch.float32, weights=FLOAT32, threads=1)
    assert isinstance(ops, PortableOps)
    assert len(caplog.records) == 1 and "\n" not in caplog.messages[0]


def test_a_machine_without_a_compiler_serves(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The whole command, and the same vectors as with the library."""
    command = [
        sys.executable,
        "-m",
        "gemwire_server",
        "embed",
        "-",
        "--model",
        str(tiny_checkpoint),
    ]
    environment = os.environ | {"CXX": "no-such-compiler", "XDG_CACHE_HOME": str(tmp_path)}
    vectors = []
    for environ in (environment, os.environ):
        done = subprocess.run(
            [*command, "-o", "-", "--dtype", "float32"],
            input="which planet\n", capture_output=True, text=True, env=environ, check=True,
        )  # fmt: skip
        vectors.append(
            torch.tensor([float(x) for x in done.stdout.split("[")[1].split("]")[0].split(",")])
        )
    torch.testing.assert_close(*vectors, atol=1e-5, rtol=0)


@needs_compiler
def test_with_a_compiler_the_library_serves() -> None:
    assert isinstance(make_ops(torch.float32, weights=FLOAT32, threads=1), NativeOps)
