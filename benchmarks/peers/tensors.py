"""Reads a checkpoint's tensors as they are stored, to write them in another format."""

import torch
from safetensors.torch import load_file
from torch import Tensor

from gemwire_server.checkpoints import Checkpoint
from gemwire_server.checkpoints.files import weight_files


def encoder_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Returns the encoder's tensors by the names of transformers' Gemma3TextModel, without "model."."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(checkpoint.pipeline.encoder):
        tensors |= load_file(file)
    return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}


def dense_tensors(checkpoint: Checkpoint) -> list[Tensor]:
    """Returns the Dense layers' weights [out, in], in order."""
    return [
        load_file(file)["linear.weight"]
        for folder in checkpoint.pipeline.dense
        for file in weight_files(folder)
    ]


def norm_weight(tensor: Tensor) -> Tensor:
    """Returns the factor of Gemma's RMSNorm: 1 + w, in fp32."""
    return tensor.to(torch.float32) + 1
