"""sentence-transformers on a GPU over token ids: padded batches of texts sorted by length."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from gemwire_server.engine.packing import TokenIds
from peers.contender import Vectors

# Lengths of the compiled form are multiples of it, as tensor cores like; else a batch is padded to its
# longest text, as sentence-transformers does, and no further: padding is what the peer pays for.
MULTIPLE = 8


class Padded:
    """The peer with PyTorch's scaled_dot_product_attention, as it is or with each layer through
    torch.compile.
    """

    def __init__(
        self,
        checkpoint: Path,
        compiled: bool = False,
        *,
        dtype: torch.dtype = torch.bfloat16,
        device: str = "cuda",
    ) -> None:
        self._device = device
        self._multiple = MULTIPLE if compiled else 1
        self._model = SentenceTransformer(
            str(checkpoint),
            device=device,
            model_kwargs={"dtype": dtype, "attn_implementation": "sdpa"},
        ).eval()
        if compiled:
            encoder: Any = self._model[0]
            # A cache of keys, which no encoder reads, would be compiled for each layer anew.
            encoder.auto_model.config.use_cache = False
            for layer in encoder.auto_model.layers:
                layer.compile(dynamic=True)

    def embed(self, batch_size: int) -> Callable[[Sequence[TokenIds]], Vectors]:
        """Embeds batches of so many texts, in sentence-transformers' own order of work, without its
        tokenizing.
        """

        @torch.inference_mode()
        def run(texts: Sequence[TokenIds]) -> Vectors:
            order = np.argsort([-len(ids) for ids in texts], kind="stable")
            found = []
            for first in range(0, len(texts), batch_size):
                rows = [texts[i] for i in order[first : first + batch_size]]
                width = -(-len(rows[0]) // self._multiple) * self._multiple
                ids = torch.zeros(len(rows), width, dtype=torch.int64)
                mask = torch.zeros_like(ids)
                for row, sequence in enumerate(rows):
                    ids[row, : len(sequence)] = torch.from_numpy(sequence.astype(np.int64))
                    mask[row, : len(sequence)] = 1
                features = {"input_ids": ids, "attention_mask": mask}
                features = {key: value.to(self._device) for key, value in features.items()}
                found.append(self._model(features)["sentence_embedding"])
            vectors: Vectors = torch.empty(len(texts), found[0].shape[1]).numpy()
            vectors[order] = torch.cat(found).float().cpu().numpy()
            return vectors

        return run
