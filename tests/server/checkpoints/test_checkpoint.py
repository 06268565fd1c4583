"""Checkpoints that are not quite right are refused by name; the right ones load in little memory."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.checkpoints.synthetic import make_checkpoint
from gemwire_server.engine.packing import pack
from gemwire_server.errors import CheckpointError
from gemwire_server.models.gemma3.config import read_config
from gemwire_server.runners.cpu import CpuRunner
from support.edited import edit


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))


def retensor(path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def load(folder: Path) -> CpuRunner:
    return CpuRunner.load(open_checkpoint(str(folder)), dtype="float32", threads=0)


def vector(folder: Path) -> Any:
    ids = np.arange(5, 300, dtype=np.int32)
    return load(folder).run(pack([ids]))[0].tolist()


def test_published_layout(tiny_checkpoint: Path) -> None:
    checkpoint = open_checkpoint(str(tiny_checkpoint))
    config = checkpoint.config
    assert [(layer.window, layer.rope_theta) for layer in config.layers] == [
        (256, 1e4) if (i + 1) % 6 else (None, 1e6) for i in range(7)
    ]
    assert checkpoint.max_tokens == 2048
    assert checkpoint.prompts.for_task("retrieval_query") == "task: search result | query: "
    assert checkpoint.prompts.default == ""


CONFIG_DAMAGE: list[tuple[str, Any, str]] = [
    ("model_type", "gemma3", "model_type"),
    ("use_bidirectional_attention", False, "use_bidirectional_attention"),
    ("hidden_activation", "silu", "hidden_activation"),
    ("attention_bias", True, "attention_bias"),
    ("attn_logit_softcapping", 50.0, "attn_logit_softcapping"),
    ("rope_scaling", {"rope_type": "linear", "factor": 8}, "rope_scaling"),
    ("quantization_config", {"quant_method": "bitsandbytes"}, "quantization_config"),
    ("layer_types", ["full_attention"], "layer_types"),
    ("sliding_window", 0, "sliding_window"),
    ("mixture_of_experts", 8, "mixture_of_experts"),
    ("hidden_size", None, "hidden_size"),
    ("matryoshka_dimensions", [96, 0], "matryoshka_dimensions"),
    ("matryoshka_dimensions", 5, "damaged"),
    ("sliding_window", 511, "sliding_window"),
    ("num_key_value_heads", 0, "damaged"),
    ("head_dim", "32", "damaged"),
]


@pytest.mark.parametrize(
    "key,value,named", CONFIG_DAMAGE, ids=[f"{row[0]}={row[1]}" for row in CONFIG_DAMAGE]
)
def test_config_that_is_not_implemented_is_named(
    folder: Path, key: str, value: Any, named: str
) -> None:
    def change(raw: dict[str, Any]) -> None:
        raw.pop(key, None)
        if value is not None:
            raw[key] = value

    edit(folder / "config.json", change)
    with pytest.raises(CheckpointError, match=named):
        open_checkpoint(str(folder))


def test_sizes_past_the_whole_vector_are_left_out(folder: Path) -> None:
    """As in a model that is built of an encoder and other Dense layers."""
    edit(folder / "config.json", lambda raw: raw.update(matryoshka_dimensions=[768, 96, 64]))
    assert open_checkpoint(str(folder)).dimensions == (96, 64)


def test_causal_by_absence_is_refused(folder: Path) -> None:
    edit(folder / "config.json", lambda raw: raw.pop("use_bidirectional_attention"))
    with pytest.raises(CheckpointError, match="use_bidirectional_attention"):
        open_checkpoint(str(folder))


def test_rope_parameters_of_newer_transformers(folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text())
    raw.pop("rope_theta"), raw.pop("rope_local_base_freq"), raw.pop("rope_scaling", None)
    raw["rope_parameters"] = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0},
    }
    assert {(layer.window, layer.rope_theta) for layer in read_config(raw).layers} == {
        (256, 1e4),
        (None, 1e6),
    }
    raw["rope_parameters"]["full_attention"]["rope_type"] = "yarn"
    with pytest.raises(CheckpointError, match="full_attention"):
        read_config(raw)


FILE_DAMAGE: list[tuple[str, Callable[[Any], None], str]] = [
    (
        "modules.json",
        lambda m: m.insert(
            2, {"idx": 2, "name": "x", "path": "x", "type": "sentence_transformers.models.LSTM"}
        ),
        "LSTM",
    ),
    ("modules.json", lambda m: m.pop(), "Normalize"),
    ("modules.json", lambda m: m[1].update(type="my_package.Pooling"), "my_package.Pooling"),
    (
        "1_Pooling/config.json",
        lambda c: c.update(pooling_mode_mean_tokens=False, pooling_mode_cls_token=True),
        "pooling cls_token",
    ),
    ("1_Pooling/config.json", lambda c: c.update(include_prompt=False), "include_prompt"),
    (
        "2_Dense/config.json",
        lambda c: c.update(activation_function="torch.nn.modules.activation.Tanh"),
        "Tanh",
    ),
    ("3_Dense/config.json", lambda c: c.update(bias=True), "bias"),
    ("3_Dense/config.json", lambda c: c.update(use_residual=True), "use_residual"),
    ("sentence_bert_config.json", lambda c: c.update(max_seq_length=-5), "max_seq_length"),
    ("sentence_bert_config.json", lambda c: c.update(model_args={"a": 1}), "model_args"),
    ("2_Dense/config.json", lambda c: c.pop("out_features"), "out_features"),
    (
        "config_sentence_transformers.json",
        lambda c: c.update(default_prompt_name="nowhere"),
        "nowhere",
    ),
    ("config_sentence_transformers.json", lambda c: c.update(truncate_dim=0), "truncate_dim"),
    ("config_sentence_transformers.json", lambda c: c.update(truncate_dim=True), "truncate_dim"),
    ("config_sentence_transformers.json", lambda c: c.update(truncate_dim=-8), "truncate_dim"),
    (
        "config_sentence_transformers.json",
        lambda c: c.update(model_type="SparseEncoder"),
        "SparseEncoder",
    ),
    ("sentence_bert_config.json", lambda c: c.update(transformer_task="fill-mask"), "fill-mask"),
    (
        "sentence_bert_config.json",
        lambda c: c.update(modality_config={"message": {"method": "forward"}}),
        "message",
    ),
    ("sentence_bert_config.json", lambda c: c.update(module_output_name="x"), "module_output_name"),
    ("sentence_bert_config.json", lambda c: c.update(query_length=32), "query_length"),
    (
        "sentence_bert_config.json",
        lambda c: c.update(processing_kwargs={"text": {"max_length": 9}}),
        r"processing_kwargs\.text\.max_length",
    ),
    ("tokenizer_config.json", lambda c: c.update(model_max_length="many"), "model_max_length"),
]


@pytest.mark.parametrize(
    "file,change,named", FILE_DAMAGE, ids=[f"{row[0]} {row[2]}" for row in FILE_DAMAGE]
)
def test_pipeline_that_is_not_implemented_is_named(
    folder: Path, file: str, change: Callable[[Any], None], named: str
) -> None:
    if file == "tokenizer_config.json":
        edit(folder / "sentence_bert_config.json", lambda c: c.pop("max_seq_length"))
    edit(folder / file, change)
    with pytest.raises(CheckpointError, match=named):
        open_checkpoint(str(folder))


def test_pooling_config_of_newer_sentence_transformers(folder: Path) -> None:
    path = folder / "1_Pooling" / "config.json"
    path.write_text(json.dumps({"embedding_dimension": 64, "pooling_mode": "mean"}))
    open_checkpoint(str(folder))
    path.write_text(json.dumps({"embedding_dimension": 64, "pooling_mode": "lasttoken"}))
    with pytest.raises(CheckpointError, match="lasttoken"):
        open_checkpoint(str(folder))


TENSOR_DAMAGE: list[tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = [
    (lambda t: t.pop("layers.3.mlp.up_proj.weight"), "layers.3.mlp.up_proj.weight"),
    (lambda t: t.update({"lm_head.weight": torch.zeros(2, 2)}), "lm_head.weight"),
    (lambda t: t.update({"norm.weight": torch.zeros(7)}), "norm.weight"),
    (lambda t: t.update({"norm.weight": t["norm.weight"].half()}), "norm.weight is float16"),
    (lambda t: t.update({"norm.weight": t["norm.weight"].to(torch.int8)}), "norm.weight is I8"),
]


@pytest.mark.parametrize("change,named", TENSOR_DAMAGE, ids=[row[1] for row in TENSOR_DAMAGE])
def test_every_tensor_is_used_exactly_once(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], Any], named: str
) -> None:
    retensor(folder / "model.safetensors", change)
    with pytest.raises(CheckpointError, match=named):
        load(folder)


def test_dense_tensors_are_held_to_the_same(folder: Path) -> None:
    path = folder / "3_Dense" / "model.safetensors"
    retensor(path, lambda t: t.update({"linear.bias": torch.zeros(64)}))
    with pytest.raises(CheckpointError, match=r"linear\.bias"):
        load(folder)


def test_a_cut_file_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load(folder)


def test_what_other_tools_save_is_told_how_to_be_saved(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"save the model again with .*safe_serialization"):
        load(folder)
    (folder / "modules.json").unlink()
    with pytest.raises(CheckpointError, match=r"modules\.json is missing.*save_pretrained"):
        load(folder)


def test_a_prefix_of_the_causal_class_is_understood(folder: Path) -> None:
    expected = vector(folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({f"model.{name}": tensor for name, tensor in tensors.items()}, path)
    assert vector(folder) == expected


def test_shards_give_the_same_vectors(tiny_checkpoint: Path, tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "shards", geometry="tiny", seed=0, shard_bytes=200_000)
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 2
    assert vector(tmp_path / "shards") == vector(tiny_checkpoint)
    next((tmp_path / "shards").glob("model-*.safetensors")).unlink()
    with pytest.raises(CheckpointError, match="missing"):
        load(tmp_path / "shards")


def test_revision_follows_the_content(folder: Path, tiny_checkpoint: Path) -> None:
    before = open_checkpoint(str(tiny_checkpoint)).revision()
    assert open_checkpoint(str(folder)).revision() == before
    edit(
        folder / "config_sentence_transformers.json",
        lambda c: c["prompts"].update(query="another: "),
    )
    prompted = open_checkpoint(str(folder)).revision()
    assert prompted != before
    retensor(folder / "3_Dense" / "model.safetensors", lambda t: t["linear.weight"].add_(1))
    assert open_checkpoint(str(folder)).revision() != prompted
    assert open_checkpoint(str(folder)).revision() != before


def test_revision_follows_what_links_lead_to(folder: Path, tmp_path: Path) -> None:
    """Module folders and files that are links, as a hub's cache and shared disks have them."""
    before = open_checkpoint(str(folder)).revision()
    elsewhere = tmp_path / "elsewhere"
    (folder / "3_Dense").rename(elsewhere)
    (folder / "3_Dense").symlink_to(elsewhere, target_is_directory=True)
    weights = tmp_path / "weights"
    (folder / "model.safetensors").rename(weights)
    (folder / "model.safetensors").symlink_to(weights)
    assert open_checkpoint(str(folder)).revision() == before
    retensor(elsewhere / "model.safetensors", lambda t: t["linear.weight"].add_(1))
    dense = open_checkpoint(str(folder)).revision()
    assert dense != before
    retensor(weights, lambda t: t["norm.weight"].add_(1))
    assert open_checkpoint(str(folder)).revision() not in (before, dense)


def test_revision_follows_modules_and_shards_of_other_folders(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (folder / "3_Dense").rename(elsewhere)
    edit(folder / "modules.json", lambda m: m[3].update(path="../elsewhere"))
    (folder / "shards").mkdir()
    shard = (folder / "model.safetensors").rename(folder / "shards" / "1.safetensors")
    names = {name: "shards/1.safetensors" for name in load_file(shard)}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    before = open_checkpoint(str(folder)).revision()
    assert len(vector(folder)) == 96
    retensor(elsewhere / "model.safetensors", lambda t: t["linear.weight"].add_(1))
    dense = open_checkpoint(str(folder)).revision()
    retensor(shard, lambda t: t["norm.weight"].add_(1))
    assert len({before, dense, open_checkpoint(str(folder)).revision()}) == 3


def test_revision_follows_folders_that_a_link_tells_apart(folder: Path, tmp_path: Path) -> None:
    """For the system link/../2_Dense is beside what the link leads to, not beside the link."""
    (tmp_path / "elsewhere" / "inner").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "elsewhere" / "inner")
    dense = tmp_path / "elsewhere" / "2_Dense"
    (folder / "3_Dense").rename(dense)
    edit(folder / "modules.json", lambda m: m[3].update(path="link/../2_Dense"))
    before = open_checkpoint(str(folder)).revision()
    retensor(dense / "model.safetensors", lambda t: t["linear.weight"].add_(1))
    changed = open_checkpoint(str(folder)).revision()
    retensor(folder / "2_Dense" / "model.safetensors", lambda t: t["linear.weight"].add_(1))
    assert len({before, changed, open_checkpoint(str(folder)).revision()}) == 3


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"norm.weight": 5}}',
                '{"weight_map": {}}', '{"weight_map": {"norm.weight": []}}'],
)  # fmt: skip
def test_a_damaged_index_is_named(folder: Path, content: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)
    opened = open_checkpoint(str(folder))
    for read in (opened.revision, lambda: CpuRunner.load(opened, dtype="float32", threads=0)):
        with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json"):
            read()


def test_revision_leaves_out_what_no_vector_depends_on(folder: Path) -> None:
    before = open_checkpoint(str(folder)).revision()
    (folder / "README.md").write_text("a model")
    (folder / "checkpoint-500").mkdir()
    (folder / "checkpoint-500" / "trainer_state.json").write_text("{}")
    assert open_checkpoint(str(folder)).revision() == before


MEASURE = """
import sys
from pathlib import Path
from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.runners.cpu import CpuRunner

def peak():  # ru_maxrss would count the parent's as well
    status = Path("/proc/self/status").read_text()
    return next(int(x.split()[1]) * 1024 for x in status.splitlines() if x.startswith("VmHWM"))

before = peak()
runner = CpuRunner.load(open_checkpoint(sys.argv[1]), dtype=sys.argv[2], threads=0)
print(peak() - before)
"""


@pytest.mark.parametrize("stored,served", [("float32", "bfloat16"), ("bfloat16", "bfloat16")])
def test_loading_needs_little_more_than_the_weights(
    tmp_path: Path, stored: str, served: str
) -> None:
    """At the full geometry, in a process of its own: 1.3 times the weights. What Python and PyTorch's
    libraries take before depends on the machine (0.5 to 0.7 GB seen)."""
    make_checkpoint(tmp_path / "full", geometry="embeddinggemma-300m", seed=1, dtype=stored)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "full"), served]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    parameters = sum(t.numel() for t in load_file(tmp_path / "full" / "model.safetensors").values())
    weights = parameters * 2 + 2 * 768 * 3072 * 2
    assert int(done.stdout) <= 1.3 * weights
