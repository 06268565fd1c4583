"""Every contender gives the vectors of transformers' Gemma 3, alone and in a batch."""

from pathlib import Path

import numpy as np
import pytest
import torch

import peers
from gemwire_server.checkpoint import Checkpoint, open_checkpoint
from gemwire_server.verify import sample_source, text_of
from peers.contender import NotRun, filled, steps
from peers.kept import kept
from peers.padded_encoder import PaddedEncoder
from peers.products import Products
from server.reference_model import ReferenceModel
from trial import AGREEMENT, distance

LENGTHS = (17, 600, 3, 40)  # 600 is over the window


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return open_checkpoint(str(tiny_checkpoint))


@pytest.fixture(scope="module")
def texts(checkpoint: Checkpoint) -> list[str]:
    tokenizer = checkpoint.load_tokenizer()
    source = sample_source(tokenizer)
    return [text_of(tokenizer, "", source[97 * i :], n) for i, n in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def truth(checkpoint: Checkpoint, texts: list[str]) -> np.ndarray:
    tokenizer = checkpoint.load_tokenizer()
    reference = ReferenceModel(checkpoint.path, torch.float32)
    return reference.embed([tokenizer.encode(text).ids for text in texts])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("peers")


@pytest.mark.parametrize("name", peers.NAMES)
def test_contender_gives_the_vectors_of_the_reference(
    name: str, checkpoint: Checkpoint, texts: list[str], truth: np.ndarray, files: Path
) -> None:
    try:
        contender = peers.make(name, checkpoint, files)
    except NotRun as reason:
        pytest.skip(str(reason))
    assert contender.name == name
    for size in contender.sizes:
        distances = distance(contender.embed(texts, size), truth)
        assert distances.max() <= AGREEMENT[contender.precision]


def test_padded_encoder_is_the_reference_whatever_the_padding(
    checkpoint: Checkpoint, texts: list[str], truth: np.ndarray
) -> None:
    tokenizer = checkpoint.load_tokenizer()
    ids, mask = torch.zeros(2, len(texts), 610, dtype=torch.int64)
    for row, text in enumerate(texts):
        tokens = torch.from_numpy(tokenizer.encode(text).ids)
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    with torch.inference_mode():
        vectors = PaddedEncoder(checkpoint)(ids, mask).numpy()
    assert distance(vectors, truth).max() <= AGREEMENT["float32"]


def test_products_are_those_of_the_batches(checkpoint: Checkpoint) -> None:
    try:
        products = Products(checkpoint)
    except NotRun as reason:
        pytest.skip(str(reason))
    products.prepare([np.ones(n, np.int32) for n in LENGTHS], 512)()


def test_missing_library_is_not_run(
    checkpoint: Checkpoint, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(peers.__dict__, "llama_cpp", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "peers.llama_cpp", None)
    with pytest.raises(NotRun, match="not installed"):
        peers.make("llama.cpp/bfloat16", checkpoint, files)


def test_half_written_files_are_written_again(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError

    def write(folder: Path) -> None:
        (folder / "whole").touch()

    with pytest.raises(RuntimeError):
        kept(tmp_path / "files", fail)
    for _ in range(2):
        assert [path.name for path in kept(tmp_path / "files", write).iterdir()] == ["whole"]


def test_steps_sort_and_filled_keeps_the_order() -> None:
    sequences = [np.ones(n, np.int32) for n in (5, 9, 2, 4)]
    assert list(steps(sequences, 2)) == [[1, 0], [3, 2]]
    assert list(filled(sequences, 7)) == [[0], [1], [2, 3]]
    assert list(filled(sequences, 1)) == [[0], [1], [2], [3]]
