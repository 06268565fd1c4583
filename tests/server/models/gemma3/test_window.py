"""sliding_window as published, as transformers re-saved it, and as the user says."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gemwire_mini import CHECKPOINT as MINI
from gemwire_server import cli, verify
from gemwire_server.checkpoints import Checkpoint, open_checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.packing import pack
from gemwire_server.errors import CheckpointError
from gemwire_server.models.gemma3.window import read_window
from gemwire_server.runners.cpu import CpuRunner
from support.reference_model import ReferenceModel

TOLERANCE = 5e-6  # of a unit vector's entries


def with_window(source: Path, folder: Path, sliding_window: int) -> Path:
    """A copy of a checkpoint with another sliding_window in its config.json."""
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    config["sliding_window"] = sliding_window
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def vectors(checkpoint: Checkpoint, ids: list[np.ndarray]) -> np.ndarray:
    return CpuRunner.load(checkpoint, dtype="float32", threads=0).run(pack(ids))


@pytest.mark.parametrize("sliding_window", [2, 3, 100, 129, 256, 257, 258, 512])
def test_a_chosen_window_is_what_transformers_computes(
    sliding_window: int, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = with_window(tiny_checkpoint, tmp_path / "copy", sliding_window)
    random = np.random.default_rng(sliding_window)
    ids = [random.integers(0, 2048, n, dtype=np.int32) for n in (1, 5, 140, 300, 600)]
    expected = ReferenceModel(folder, torch.float32).embed(ids)
    found = vectors(open_checkpoint(str(folder), sliding_window=sliding_window), ids)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    other = vectors(open_checkpoint(str(folder), sliding_window=sliding_window + 2), ids)
    assert np.abs(other - expected).max() > 20 * TOLERANCE


@pytest.mark.parametrize("written,reach", [(512, 256), (256, 128), (258, 129), (2, 1)])
def test_an_even_window_is_read_as_it_is(
    written: int, reach: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_window(written) == reach
    assert not caplog.records


def test_a_resaved_window_is_read_as_published(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_window(257) == 256
    for said in ("257 is taken for a re-saved 512", "256 to each side", "128 to each side",
                 "--sliding-window 512", "--sliding-window 257"):  # fmt: skip
        assert said in caplog.text
    caplog.clear()
    assert read_window(257, 512) == 256 and read_window(257, 257) == 128
    assert not caplog.records


@pytest.mark.parametrize(
    "written,origin",
    [
        (129, "probably 512, saved 2 times"),
        (65, "probably 512, saved 3 times"),
        (511, "probably 1020, saved once"),
        (51, "probably 100, saved once"),
    ],
)
def test_another_odd_window_is_explained(written: int, origin: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        read_window(written)
    assert origin in str(raised.value)
    assert f"--sliding-window {written} for what transformers reads" in str(raised.value)
    assert read_window(written, written) == written // 2


@pytest.mark.parametrize("written", [1, 0, -512])
def test_a_window_of_nothing_is_refused(written: int) -> None:
    with pytest.raises(CheckpointError, match="at least 2"):
        read_window(written)


@pytest.mark.parametrize("written", [None, 512.0, "512", True, [512]])
@pytest.mark.parametrize("chosen", [0, 512])
def test_a_window_that_is_no_number_is_refused(written: Any, chosen: int) -> None:
    with pytest.raises(CheckpointError, match="a whole number is expected"):
        read_window(written, chosen)


@pytest.mark.parametrize("sliding_window", [2**31, 2**32 - 2, 2**33, 10**30])
def test_a_window_beyond_32_bits_sees_the_whole_text(
    sliding_window: int, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = with_window(tiny_checkpoint, tmp_path / "copy", sliding_window)
    ids = [np.random.default_rng(1).integers(0, 2048, n, dtype=np.int32) for n in (5, 600)]
    found = vectors(open_checkpoint(str(folder)), ids)
    np.testing.assert_array_equal(found, vectors(open_checkpoint(str(folder), None, 4096), ids))


@pytest.mark.parametrize("command", [["info"], ["tokenize", "a text"]])
def test_commands_that_open_a_checkpoint_take_the_option(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = with_window(MINI, tmp_path / "mini", 129)
    assert cli.main([*command, "--model", str(folder)]) != 0
    assert "--sliding-window 512" in capsys.readouterr().err
    assert cli.main([*command, "--model", str(folder), "--sliding-window", "512"]) == 0


def test_the_revision_says_that_the_window_is_read_otherwise(tmp_path: Path) -> None:
    """The same files then give other vectors."""
    folder = with_window(MINI, tmp_path / "mini", 257)
    plain = open_checkpoint(str(folder), sliding_window=257).revision()
    assert plain.startswith("sha256-") and "window" not in plain
    assert open_checkpoint(str(folder)).revision() == f"{plain}-window256"
    assert open_checkpoint(str(folder), sliding_window=100).revision() == f"{plain}-window50"
    assert "window" not in open_checkpoint(str(MINI), sliding_window=512).revision()


@pytest.mark.parametrize("chosen,reach", [(0, 256), (257, None), (100, 50)])
def test_verify_compares_with_the_window_that_is_served(
    chosen: int, reach: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = with_window(MINI, tmp_path / "mini", 257)
    words = "the quick brown fox jumps over a lazy dog while seven planets turn around one star "
    texts = tmp_path / "texts"
    texts.write_text("\n".join(words[start:] + 20 * words for start in range(0, 60, 10)))
    config = ServerConfig(model=str(folder), sliding_window=chosen, device="cpu")
    assert verify.run(config, texts, "fp32") == 0
    printed = capsys.readouterr().out
    assert "PASSED" in printed
    if reach is None:
        assert "sliding_window" not in printed
    else:
        assert f"sliding_window 257 of config.json is read as {reach} tokens" in printed
