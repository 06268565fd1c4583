"""A second family: one object, and one line in ARCHITECTURES."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from gemwire_kernels.ops import Batch, Ops
from gemwire_kernels.reference import rms_norm
from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.engine.packing import pack
from gemwire_server.errors import CheckpointError
from gemwire_server.models import ARCHITECTURES
from gemwire_server.models.config import EncoderConfig
from gemwire_server.models.weight_plan import WeightPlan
from gemwire_server.runners.cpu import CpuRunner

TOLERANCE = 1e-6
VOCABULARY, HIDDEN = 2048, 96


class BagEncoder:
    """A text is the mean of its tokens' normed embeddings. Norms multiply by w, not by 1 + w."""

    def __init__(
        self, config: EncoderConfig, table: Any, norm: Tensor, dense: Tensor, ops: Ops
    ) -> None:
        self.config, self.ops = config, ops
        self.dtype, self.dimensions = torch.float32, len(dense)
        self._weights = table, norm, dense

    def forward(self, batch: Batch, *, normalize: bool = True) -> Tensor:
        _, norm, dense = self._weights
        pooled = self.ops.pool(batch, self._residual(batch), norm, self.config.rms_norm_eps)
        return self.ops.head(batch, pooled, dense, normalize=normalize)

    def token_states(self, batch: Batch) -> Tensor:
        return rms_norm(self._residual(batch), self._weights[1], self.config.rms_norm_eps)

    def _residual(self, batch: Batch) -> Tensor:
        table, norm, _ = self._weights
        return self.ops.embed_norm(batch, table, 2.0, norm, self.config.rms_norm_eps)[0]

    def with_ops(self, ops: Ops) -> "BagEncoder":
        return BagEncoder(self.config, *self._weights, ops)


class BagWeights(WeightPlan):
    def __init__(self, config: EncoderConfig, dtype: torch.dtype) -> None:
        super().__init__(dtype)
        self._config = config
        # Two tensors of the file are one table.
        half = config.vocab_size // 2
        self._table = self.matrix(config.hidden_size, {"low.table": half, "high.table": half})
        self._norm = self.vector("scale", config.hidden_size)

    def make_encoder(self, dense: Tensor, ops: Ops, device: torch.device) -> BagEncoder:
        table = ops.pack_embedding(self._table)
        return BagEncoder(self._config, table, self._norm.to(device), dense.to(device), ops)


class Bag:
    TRAINED_DIMENSIONS: tuple[int, ...] = (96, 32)

    def read_config(self, raw: Mapping[str, Any], sliding_window: int) -> EncoderConfig:
        return EncoderConfig(
            vocab_size=raw["words"],
            hidden_size=raw["width"],
            intermediate_size=0,
            num_attention_heads=0,
            layers=(),
            attention_scale=1.0,
            max_position_embeddings=raw["longest"],
            rms_norm_eps=1e-6,
        )

    def plan_weights(self, config: EncoderConfig, dtype: torch.dtype) -> BagWeights:
        return BagWeights(config, dtype)


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    half = VOCABULARY // 2, HIDDEN
    return {
        "low.table": torch.randn(half),
        "high.table": torch.randn(half),
        "scale": torch.rand(HIDDEN) + 0.5,
    }


@pytest.fixture
def folder(tiny_checkpoint: Path, tensors: dict[str, Tensor], tmp_path: Path) -> Path:
    """The layout of sentence-transformers around a model of another family."""
    made = shutil.copytree(tiny_checkpoint, tmp_path / "bag")
    config = {"model_type": "bag", "words": VOCABULARY, "width": HIDDEN, "longest": 512}
    (made / "config.json").write_text(json.dumps(config))
    save_file(tensors, made / "model.safetensors")
    return made


def expected(folder: Path, tensors: dict[str, Tensor], ids: NDArray[np.int32]) -> Tensor:
    rows = torch.cat((tensors["low.table"], tensors["high.table"]))[ids].double() * 2
    rows = rows * (rows.square().mean(1, keepdim=True) + 1e-6).rsqrt() * tensors["scale"]
    vector = rows.mean(0)
    for name in ("2_Dense", "3_Dense"):
        vector = load_file(folder / name / "model.safetensors")["linear.weight"].double() @ vector
    return F.normalize(vector, dim=0)


def test_a_checkpoint_of_it_is_served(
    folder: Path, tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "bag", Bag())
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.max_tokens == 512 and checkpoint.dimensions == (96, 32)
    assert checkpoint.revision().startswith("sha256-")
    assert len(checkpoint.load_tokenizer().encode("a text").ids) > 2
    runner = CpuRunner.load(checkpoint, dtype="float32", threads=0)
    runner.warm_up(64)
    random = np.random.default_rng(0)
    ids = [random.integers(0, VOCABULARY, n, dtype=np.int32) for n in (1, 7, 300)]
    truth = torch.stack([expected(folder, tensors, text) for text in ids])
    np.testing.assert_allclose(runner.run(pack(ids)), truth, atol=TOLERANCE)


def test_its_files_are_checked_like_any_others(
    folder: Path, tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "bag", Bag())
    checkpoint = open_checkpoint(str(folder))
    save_file(tensors | {"other": torch.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="tensor other is not part of the encoder"):
        CpuRunner.load(checkpoint, dtype="float32", threads=0)
    del tensors["scale"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="1 tensors are missing, the first is scale"):
        CpuRunner.load(checkpoint, dtype="float32", threads=0)


@pytest.mark.parametrize("name", ["bag", None, ["gemma3_text"]])
def test_an_unknown_family_is_named(folder: Path, name: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": name}))
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(str(folder))
    wanted = f"config.json: model_type is {name!r}; only 'gemma3_text' is implemented"
    assert str(refused.value) == wanted


def test_all_families_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "sack", Bag())
    with pytest.raises(CheckpointError, match="only 'gemma3_text' and 'sack' are implemented"):
        open_checkpoint(str(folder))
