"""The reference: transformers' Gemma 3 and sentence-transformers' pipeline, over token ids."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel

CPU = torch.device("cpu")


class ReferenceModel:
    """One text at a time, so that nothing is padded and no batch can matter."""

    def __init__(self, checkpoint: Path, dtype: torch.dtype, device: torch.device = CPU) -> None:
        torch.set_float32_matmul_precision("highest")  # some images turn tf32 on
        self.model = AutoModel.from_pretrained(checkpoint, dtype=dtype).eval().to(device)
        self.dense = [
            load_file(checkpoint / name / "model.safetensors")["linear.weight"].to(device, dtype)
            for name in ("2_Dense", "3_Dense")
        ]

    @torch.inference_mode()
    def embed(self, sequences: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        rows = [F.normalize(self._projected(ids), dim=0) for ids in sequences]
        return torch.stack(rows).float().cpu().numpy()

    @torch.inference_mode()
    def raw(self, sequences: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """The vectors before they are normalized."""
        return torch.stack([self._projected(ids) for ids in sequences]).float().cpu().numpy()

    @torch.inference_mode()
    def token_states(self, sequences: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """The final hidden states of the tokens of all texts, end to end."""
        return torch.cat([self._states(ids) for ids in sequences]).float().cpu().numpy()

    def _states(self, ids: NDArray[np.int32]) -> Tensor:
        tokens = torch.from_numpy(ids.astype(np.int64))[None].to(self.model.device)
        states: Tensor = self.model(
            input_ids=tokens, attention_mask=torch.ones_like(tokens)
        ).last_hidden_state[0]
        return states

    def _projected(self, ids: NDArray[np.int32]) -> Tensor:
        hidden = self._states(ids)
        pooled = hidden.float().mean(0).to(hidden.dtype)
        for weight in self.dense:
            pooled = F.linear(pooled, weight)
        return pooled
