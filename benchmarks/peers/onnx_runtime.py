"""ONNX Runtime on an export of the same checkpoint: sorted by length, padded within a batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
import torch

from gemwire_server.checkpoints import Checkpoint
from peers.contender import Counts, Precision, Vectors, steps
from peers.kept import kept
from peers.onnx_file import write_float32, write_int8


class OnnxRuntime:
    counts: Counts = "texts"
    sizes: tuple[int, ...] = (1, 4, 8)

    def __init__(
        self, checkpoint: Checkpoint, folder: Path, precision: Literal["float32", "int8"]
    ) -> None:
        """Loads the model. Its files are kept in the folder."""
        self.name = f"onnxruntime/{precision}"
        self.precision: Precision = precision
        self._tokenizer = checkpoint.load_tokenizer()
        self._dimensions = checkpoint.dimensions[0]
        files = kept(
            folder / "onnx-float32", lambda into: write_float32(checkpoint, into / "model.onnx")
        )
        if precision == "int8":
            float32 = files / "model.onnx"
            files = kept(
                folder / "onnx-int8", lambda into: write_int8(float32, into / "model.onnx")
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            files / "model.onnx", options, providers=["CPUExecutionProvider"]
        )

    def embed(self, texts: Sequence[str], size: int) -> Vectors:
        sequences = [self._tokenizer.encode(text).ids for text in texts]
        vectors = np.empty((len(texts), self._dimensions), np.float32)
        for step in steps(sequences, size):
            shape = len(step), max(len(sequences[i]) for i in step)
            ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
            for row, i in enumerate(step):
                ids[row, : len(sequences[i])] = sequences[i]
                mask[row, : len(sequences[i])] = 1
            feed = {"input_ids": ids, "attention_mask": mask}
            (vectors[step],) = self._session.run(None, feed)
        return vectors
