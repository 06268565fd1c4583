"""sentence-transformers as its users run it: sorted by length, padded within a batch."""

import logging
from collections.abc import Sequence
from typing import Literal

import torch
import transformers
from sentence_transformers import SentenceTransformer

from gemwire_server.checkpoints import Checkpoint
from peers.contender import Counts, Precision, Vectors


class SentenceTransformers:
    counts: Counts = "texts"
    sizes: tuple[int, ...] = (1, 8, 32)

    def __init__(self, checkpoint: Checkpoint, precision: Literal["float32", "bfloat16"]) -> None:
        transformers.utils.logging.disable_progress_bar()
        logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
        self.name = f"sentence-transformers/{precision}"
        self.precision: Precision = precision
        self._model = SentenceTransformer(
            str(checkpoint.path), device="cpu", model_kwargs={"dtype": getattr(torch, precision)}
        )

    def embed(self, texts: Sequence[str], size: int) -> Vectors:
        vectors = self._model.encode(
            list(texts),
            batch_size=size,
            convert_to_tensor=True,
            show_progress_bar=False,
            prompt="",
        )
        result: Vectors = vectors.float().numpy()
        return result
