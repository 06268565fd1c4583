"""Every contender gives the vectors of transformers' Gemma 3, alone and in a batch."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch.nn.attention.flex_attention import create_block_mask

import peers
from gemwire_server.checkpoints import Checkpoint, open_checkpoint
from gemwire_server.verify import sample_source, text_of
from peers import packed_gpu
from peers.contender import NotRun, filled, steps
from peers.kept import kept
from peers.packed_gpu import Kind, Packed, blocks_seen
from peers.padded_encoder import PaddedEncoder
from peers.padded_gpu import Padded
from peers.products import Products
from support.reference_model import ReferenceModel
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


@pytest.mark.parametrize("compiled", [False, True])
def test_padded_model_is_the_reference_and_compiled_if_it_says_so(
    compiled: bool, checkpoint: Checkpoint, texts: list[str], truth: np.ndarray
) -> None:
    tokenizer = checkpoint.load_tokenizer()
    ids = [tokenizer.encode(text).ids for text in texts]
    torch._dynamo.reset()
    counters.clear()
    padded = Padded(checkpoint.path, compiled, dtype=torch.float32, device="cpu")
    for size in (3, 4, 1):
        assert distance(padded.embed(size)(ids), truth).max() <= AGREEMENT["float32"]
    # One for all layers and sizes, or two where a length of 1 is its own.
    assert counters["stats"]["unique_graphs"] in ((1, 2) if compiled else (0,))


@pytest.mark.parametrize("kind", ["flex", "varlen"])
def test_packed_encoder_is_the_reference_batch_after_batch(
    kind: Kind, checkpoint: Checkpoint, texts: list[str], truth: np.ndarray, varlen_on_the_cpu: None
) -> None:
    """Two batches, each filled up to 640 tokens."""
    tokenizer = checkpoint.load_tokenizer()
    ids = [tokenizer.encode(text).ids for text in texts]
    packed = Packed(checkpoint, kind, 640, dtype=torch.float32, device="cpu", compiled=False)
    assert distance(packed.embed(ids), truth).max() <= AGREEMENT["float32"]
    assert distance(packed.embed(ids[::-1]), truth[::-1]).max() <= AGREEMENT["float32"]


@pytest.fixture
def varlen_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch has no kernel of it there: as its documentation says what it computes."""

    def attend(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, cu_seq_q: torch.Tensor,
        cu_seq_k: torch.Tensor, max_q: int, max_k: int, *, scale: float, window_size: tuple[int, int],
    ) -> torch.Tensor:  # fmt: skip
        assert torch.equal(cu_seq_q, cu_seq_k) and query.shape == key.shape == value.shape
        assert max_q == max_k == int(cu_seq_q.diff().max())
        out = torch.full_like(query, torch.nan)  # of no text
        for low, high in itertools.pairwise(cu_seq_q.tolist()):
            q, k, v = (t[low:high].transpose(0, 1) for t in (query, key, value))
            at = torch.arange(high - low)
            distance = (at[:, None] - at).abs()
            assert window_size[0] == window_size[1]
            seen = distance <= (window_size[0] if window_size[0] >= 0 else high)
            scores = (q @ k.transpose(1, 2) * scale).masked_fill(~seen, -torch.inf)
            out[low:high] = (scores.softmax(-1) @ v).transpose(0, 1)
        return out

    monkeypatch.setattr(packed_gpu, "varlen_attn", attend)


@pytest.mark.parametrize("window", [None, 1, 127, 128, 256, 300])
@pytest.mark.parametrize(
    "lengths", [[128, 128, 384], [1, 2, 3], [640], [100, 29, 400, 1], [127, 130, 383], [600, 30]]
)
def test_blocks_are_those_that_pytorch_finds(lengths: list[int], window: int | None) -> None:
    cu_seqlens = np.cumsum([0, *lengths], dtype=np.int32)
    owner = np.full(640, -1)
    owner[: cu_seqlens[-1]] = np.repeat(np.arange(len(lengths)), lengths)
    text = torch.from_numpy(owner)
    tokens = int(cu_seqlens[-1])

    def seen(
        batch: torch.Tensor, head: torch.Tensor, row: torch.Tensor, column: torch.Tensor
    ) -> torch.Tensor:
        same = (text[row] == text[column]) & (row < tokens)
        return same if window is None else same & ((row - column).abs() <= window)

    mask = create_block_mask(seen, None, None, 640, 640, device="cpu")
    for table, counts, indices in zip(
        blocks_seen(cu_seqlens, 5, window),
        (mask.kv_num_blocks, mask.full_kv_num_blocks),
        (mask.kv_indices, mask.full_kv_indices),
        strict=True,
    ):
        assert counts is not None and indices is not None
        expected = [
            sorted(row[:n])
            for row, n in zip(indices[0, 0].tolist(), counts[0, 0].tolist(), strict=True)
        ]
        assert [np.flatnonzero(row).tolist() for row in table] == expected


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
