"""The guard of the frozen API: `buf breaking` as `make lint` calls it, on changed copies of the .proto."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from uninstalled import ROOT

BUF = Path(sys.executable).parent / "buf"
SOURCE = Path("proto", "gemwire", "v1", "embedding.proto")
FROZEN = Path("proto", "frozen.yaml")
REFUSED = 100
"""The exit code of buf where it finds a breaking change; 1 is another failure."""

Change = tuple[str, str]
"""A part of the .proto, and what takes its place."""

BREAKING: dict[str, Change] = {
    "number of a field": ("bool ordered = 2;", "bool ordered = 3;"),
    "name of a field": ("bool ordered = 2;", "bool in_order = 2;"),
    "type of a field": ("bool ordered = 2;", "uint32 ordered = 2;"),
    "optional": ("optional bool normalize = 6;", "bool normalize = 6;"),
    "field removed": ("  bool ordered = 2;\n", ""),
    "field removed, number kept": ("bool ordered = 2;", "reserved 2;"),
    "oneof renamed": ("oneof outcome {", "oneof result {"),
    "field into a oneof": (
        "bool ordered = 2;",
        "oneof order {\n    bool ordered = 2;\n  }",
    ),
    "enum value removed": ("  TRUNCATION_START = 3;\n", ""),
    "enum value renamed": ("TRUNCATION_START = 3;", "TRUNCATION_HEAD = 3;"),
    "message renamed": ("StreamGoAway", "StreamLeave"),
    "method renamed": ("rpc Tokenize(", "rpc Encode("),
    "method's streams": (
        "rpc Embed(EmbedRequest) returns (EmbedResponse)",
        "rpc Embed(EmbedRequest) returns (stream EmbedResponse)",
    ),
    "method that may not be repeated": (
        "option idempotency_level = NO_SIDE_EFFECTS;",
        "option idempotency_level = IDEMPOTENT;",
    ),
    "package": ("package gemwire.v1;", "package gemwire.v2;"),
    "package of Java": ('java_package = "dev.gemwire.v1"', 'java_package = "com.gemwire.v1"'),
    "package of Go": ("clients/go/gemwirev1;gemwirev1", "clients/go/api;api"),
}
KEPT: dict[str, Change] = {
    "nothing": ("bool ordered = 2;", "bool ordered = 2;"),
    "field added": ("bool ordered = 2;", "bool ordered = 2;\n  bool added = 3;"),
    "field of a oneof added": ("float score = 1;", "float score = 1;\n    double exact = 3;"),
    "field with a number that is kept for it": (
        "reserved 3 to 7; // Kept",
        "bytes image = 3;\n  reserved 4 to 7; // Kept",
    ),
    "enum value added": (
        "TRUNCATION_START = 3;",
        "TRUNCATION_START = 3;\n  TRUNCATION_MIDDLE = 4;",
    ),
    "method added": (
        "rpc EmbedStream(",
        "rpc Added(EmbedRequest) returns (EmbedResponse);\n  rpc EmbedStream(",
    ),
    "message added": ("// Opens a stream.", "message Added {}\n// Opens a stream."),
    "comment changed": ("// Opens a stream.", "// Begins a stream."),
}


def commands(target: str) -> list[list[str]]:
    """The arguments of buf in the recipe of a target of the Makefile."""
    recipe = re.search(
        rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert recipe is not None
    return [line.split() for line in re.findall(r"\$\(BIN\)/buf (.*)", recipe[1])]


(GUARD,) = (command for command in commands("lint") if command[0] == "breaking")
(FREEZE,) = commands("freeze")

Buf = Callable[[list[str]], subprocess.CompletedProcess[str]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What buf reads of the repository."""
    for folder in ("proto", "third_party"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def buf(tree: Path) -> Buf:
    if not BUF.exists():
        pytest.skip("buf is not installed")

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(BUF), *command], cwd=tree, capture_output=True, text=True)

    return run


def edit(tree: Path, change: Change) -> None:
    source = (tree / SOURCE).read_text()
    assert change[0] in source
    (tree / SOURCE).write_text(source.replace(*change))


@pytest.mark.parametrize("change", BREAKING.values(), ids=BREAKING)
def test_a_breaking_change_is_refused(tree: Path, buf: Buf, change: Change) -> None:
    edit(tree, change)
    assert buf(["build"]).returncode == 0, "the changed copy does not compile"
    done = buf(GUARD)
    assert done.returncode == REFUSED, done.stdout + done.stderr


@pytest.mark.parametrize("change", KEPT.values(), ids=KEPT)
def test_another_change_passes(tree: Path, buf: Buf, change: Change) -> None:
    edit(tree, change)
    done = buf(GUARD)
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_freeze_guards_what_was_added(tree: Path, buf: Buf) -> None:
    edit(tree, KEPT["field added"])
    assert buf(FREEZE).returncode == 0
    assert "name: added" in (tree / FROZEN).read_text()
    assert buf(GUARD).returncode == 0
    edit(tree, ("  bool added = 3;\n", ""))
    assert buf(GUARD).returncode == REFUSED
