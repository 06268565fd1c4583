"""Writes a checkpoint as an ONNX file: torch.onnx's export of a padded encoder, and its dynamic int8."""

import logging
from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from gemwire_server.checkpoints import Checkpoint
from peers.padded_encoder import PaddedEncoder

OPSET = 23  # the first with RMSNormalization and Attention: 8% faster here than 20, which writes them out


def write_float32(checkpoint: Checkpoint, path: Path) -> None:
    """Exports inputs input_ids and attention_mask, int64 [n, length], and output vectors, float32."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    # Two tensors: one given twice would become one input that feeds both.
    input_ids, attention_mask = (torch.ones(2, 8, dtype=torch.int64) for _ in range(2))
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    program = torch.onnx.export(
        PaddedEncoder(checkpoint).eval(),
        (input_ids, attention_mask),
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=["input_ids", "attention_mask"],
        output_names=["vectors"],
        dynamic_shapes=(dynamic, dynamic),
    )
    assert program is not None
    program.save(path, external_data=True)


def write_int8(float32: Path, path: Path) -> None:
    """Quantizes weights and embedding to int8, with a scale a channel, and activations dynamically.

    A scale a channel is as fast as one a matrix and errs less; unsigned weights are 4 times slower.
    """
    logging.getLogger().addFilter(_no_advice)
    quantize_dynamic(
        float32,
        path,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gather"],
    )


def _no_advice(record: logging.LogRecord) -> bool:
    """Hides onnxruntime's advice to preprocess: this export has nothing to fold or to infer."""
    return "pre-processing before quantization" not in record.getMessage()
