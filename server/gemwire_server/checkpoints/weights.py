"""Loads a checkpoint's weights into its family's encoder."""

from pathlib import Path

import torch
from torch import Tensor

from gemwire_kernels.ops import Ops
from gemwire_server.checkpoints.files import weight_files
from gemwire_server.checkpoints.safetensors import read_into
from gemwire_server.errors import CheckpointError
from gemwire_server.json_files import read_json
from gemwire_server.models.config import EncoderConfig
from gemwire_server.models.encoder import Encoder
from gemwire_server.models.family import Family


def load_encoder(
    family: Family,
    config: EncoderConfig,
    encoder: Path,
    dense: tuple[Path, ...],
    ops: Ops,
    dtype: torch.dtype,
    device: torch.device,
) -> Encoder:
    """Reads the tensors of the encoder's folder, and folds those of the Dense folders into one matrix.

    Raises CheckpointError for files that do not hold what the family plans.
    """
    plan = family.plan_weights(config, dtype)
    read_into(plan.targets, weight_files(encoder))
    return plan.make_encoder(_fold_dense(dense, config.hidden_size), ops, device)


def _fold_dense(folders: tuple[Path, ...], hidden: int) -> Tensor:
    """Folds the Dense layers, which have no activation between them, to one product: fp32 [out,
    hidden], computed in fp64.
    """
    product = torch.eye(hidden, dtype=torch.float64)
    for folder in folders:
        settings = read_json(folder / "config.json")
        weight = torch.empty(settings["out_features"], settings["in_features"])
        if weight.shape[1] != len(product):
            raise CheckpointError(
                f"{folder}: in_features is {weight.shape[1]}, but what comes before gives {len(product)}"
            )
        read_into({"linear.weight": weight}, weight_files(folder))
        product = weight.double() @ product
    return product.float()
