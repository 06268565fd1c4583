"""Synthetic checkpoints: the published layout, loaded by the reference libraries."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoModel, AutoTokenizer

from gemwire_server.checkpoints.synthetic import GEOMETRIES, make_checkpoint
from gemwire_server.errors import CheckpointError

TEXTS = ["Which planet is red?", "Venus is the sister of Earth", "x", "Mars is red. " * 60]
FILES = {
    "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors",
    "3_Dense/config.json", "3_Dense/model.safetensors", "config.json",
    "config_sentence_transformers.json", "model.safetensors", "modules.json",
    "sentence_bert_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer.model",
    "tokenizer_config.json",
}  # fmt: skip


def files(directory: Path) -> dict[str, bytes]:
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def test_the_files_are_the_published_ones(tiny_checkpoint: Path) -> None:
    assert set(files(tiny_checkpoint)) == FILES


def test_the_same_seed_gives_the_same_bytes(tiny_checkpoint: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        make_checkpoint(tmp_path / str(seed), geometry="tiny", seed=seed)
    assert files(tmp_path / "0") == files(tiny_checkpoint)
    weights = {name for name in FILES if name.endswith(".safetensors")}
    same, other = files(tmp_path / "0"), files(tmp_path / "1")
    assert {name for name in FILES if same[name] != other[name]} == weights


def test_dtype_and_shards_leave_the_values_alone(tiny_checkpoint: Path, tmp_path: Path) -> None:
    make_checkpoint(tmp_path, geometry="tiny", seed=0, dtype="float32", shard_bytes=100_000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    shards = {name: load_file(tmp_path / name) for name in set(index["weight_map"].values())}
    assert len(shards) > 3 and not (tmp_path / "model.safetensors").exists()
    expected = load_file(tiny_checkpoint / "model.safetensors")
    assert set(index["weight_map"]) == set(expected)
    assert sum(map(len, shards.values())) == len(expected)
    for name, file in index["weight_map"].items():
        value = shards[file][name]
        assert value.dtype is torch.float32 and expected[name].dtype is torch.bfloat16
        assert torch.equal(value.bfloat16(), expected[name]), name
    total = sum(value.numel() * 4 for value in expected.values())
    assert index["metadata"]["total_size"] == total


def test_weights_are_random_and_well_scaled(tiny_checkpoint: Path) -> None:
    tensors = load_file(tiny_checkpoint / "model.safetensors")
    for name, tensor in tensors.items():
        expected = 0.2 if tensor.dim() == 1 else tensor.shape[1] ** -0.5
        tolerance = 5 / tensor.numel() ** 0.5
        assert tensor.float().std().item() == pytest.approx(expected, rel=tolerance), name
        assert abs(tensor.float().mean().item()) < expected * tolerance, name
    assert not torch.equal(
        tensors["layers.0.mlp.up_proj.weight"], tensors["layers.1.mlp.up_proj.weight"]
    )


def test_the_reference_loads_and_runs_it(tiny_checkpoint: Path) -> None:
    model = SentenceTransformer(
        str(tiny_checkpoint), device="cpu", model_kwargs={"dtype": torch.float32}
    )
    query = model.encode(TEXTS, prompt_name="query")
    document = model.encode(TEXTS, prompt_name="document")
    assert query.shape == (len(TEXTS), GEOMETRIES["tiny"].hidden_size)
    np.testing.assert_allclose(np.linalg.norm(query, axis=1), 1, rtol=1e-5)
    cosines = (query @ query.T)[np.triu_indices(len(TEXTS), 1)]
    assert cosines.max() < 0.95 and np.abs(query - document).max() > 0.05


def test_the_tensors_are_those_of_transformers(tiny_checkpoint: Path) -> None:
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.from_pretrained(tiny_checkpoint))
    found = load_file(tiny_checkpoint / "model.safetensors")
    expected = {name: value.shape for name, value in model.state_dict().items()}
    assert {name: value.shape for name, value in found.items()} == expected


def test_every_layer_counts(tiny_checkpoint: Path) -> None:
    model = SentenceTransformer(
        str(tiny_checkpoint), device="cpu", model_kwargs={"dtype": torch.float32}
    )
    batch = model.tokenizer(TEXTS[:1], return_tensors="pt")
    with torch.no_grad():
        states = model[0].auto_model(**batch, output_hidden_states=True).hidden_states
    for before, after in pairwise(states):
        assert (after - before).std() > 0.2 * before.std()


def test_transformers_loads_the_tokenizer(tiny_checkpoint: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(tiny_checkpoint))
    ids = tokenizer("A text").input_ids
    assert (ids[0], ids[-1]) == (2, 1) and len(ids) > 3
    roles = [tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id]
    assert [*roles, tokenizer.unk_token_id] == [0, 1, 2, 3]
    assert tokenizer.model_max_length == 2048


def test_what_does_not_fit_is_refused(gemma_tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="262144 pieces; the geometry has room for 2048"):
        make_checkpoint(tmp_path, geometry="tiny", seed=0, tokenizer=gemma_tokenizer)


@pytest.mark.parametrize(
    ("geometry", "dtype", "message"),
    [("huge", "bfloat16", "'huge'; there are"), ("tiny", "float16", "bfloat16 or float32")],
)
def test_unknown_options_are_refused(
    tmp_path: Path, geometry: str, dtype: str, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        make_checkpoint(tmp_path / "new", geometry=geometry, seed=0, dtype=dtype)
    assert not (tmp_path / "new").exists()
