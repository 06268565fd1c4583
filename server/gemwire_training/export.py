"""A student → a checkpoint folder in the sentence-transformers layout."""

import shutil
from pathlib import Path

import torch
from safetensors.torch import save

from gemwire_server.checkpoints.synthetic.configs import write_configs
from gemwire_server.checkpoints.synthetic.tokenizer import write_tokenizer
from gemwire_training.student import GEOMETRY, Student

METADATA = {"format": "pt"}


def export(student: Student, vocabulary: Path, directory: Path) -> None:
    """Writes the folder anew, in bf16; of an old one only the README.md stays."""
    partial = directory.with_name(f".{directory.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_tokenizer(partial, vocabulary, GEOMETRY.vocab_size)
    write_configs(partial, GEOMETRY, "bfloat16")
    weights = {
        name: tensor.detach().to("cpu", torch.bfloat16).contiguous()
        for name, tensor in student.named_parameters()
    }
    for folder, name in (("2_Dense", "dense.0.weight"), ("3_Dense", "dense.1.weight")):
        dense = save({"linear.weight": weights.pop(name)}, METADATA)
        (partial / folder / "model.safetensors").write_bytes(dense)
    (partial / "model.safetensors").write_bytes(save(weights, METADATA))
    if (card := directory / "README.md").exists():
        shutil.copy(card, partial)
    shutil.rmtree(directory, ignore_errors=True)
    partial.replace(directory)
