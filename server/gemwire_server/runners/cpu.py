"""Owns the CPU: gives a packed batch to the encoder and takes its vectors back."""

import logging
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from gemwire_kernels import cpu
from gemwire_kernels.formats import FORMATS
from gemwire_kernels.ops import Batch
from gemwire_kernels.tensors import FORMAT_OF
from gemwire_server.checkpoints import Checkpoint
from gemwire_server.engine.interface import Output
from gemwire_server.engine.packing import PackedBatch, pack
from gemwire_server.errors import CheckpointError
from gemwire_server.models.config import EncoderConfig
from gemwire_server.models.encoder import Encoder

log = logging.getLogger(__name__)

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class CpuRunner:
    """Runs an encoder on the CPU. One thread calls it."""

    device = torch.device("cpu")
    depth = 1
    # Half a second on two cores: a larger step gains little, and delays the next one for longer.
    batch_tokens = 512

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, *, dtype: str, threads: int, weights: str = "auto"
    ) -> "CpuRunner":
        """Loads a checkpoint. `dtype` is "auto", "bfloat16" or "float32"; `threads` 0 leaves
        PyTorch's choice, the cores.

        `weights` is the name of the format that weights are multiplied in; "auto" is that of `dtype`.
        """
        if threads:
            torch.set_num_threads(threads)
        started = time.monotonic()
        chosen = cpu.best_dtype() if dtype == "auto" else DTYPES[dtype]
        form = FORMAT_OF[chosen] if weights == "auto" else FORMATS[weights]
        ops = cpu.make_ops(chosen, weights=form, threads=torch.get_num_threads())
        encoder = checkpoint.load_encoder(ops, chosen, torch.device("cpu"))
        log.info("loaded %s in %.1f s", checkpoint.name, time.monotonic() - started)
        return cls(encoder)

    @property
    def dtype_name(self) -> str:
        return str(self.encoder.dtype).removeprefix("torch.")

    @property
    def description(self) -> str:
        """The device and the operations, for people."""
        name = getattr(self.encoder.ops, "name", "reference")
        return f"cpu, {self.dtype_name}, {torch.get_num_threads()} threads, {name} operations"

    def start(
        self, batch: PackedBatch, output: Output = Output.UNIT
    ) -> Callable[[], NDArray[np.float32]]:
        """Returns a call that computes the batch. The thread that owns the runner computes, so
        starting early gains nothing.
        """
        return partial(self.run, batch, output)

    def run(self, batch: PackedBatch, output: Output = Output.UNIT) -> NDArray[np.float32]:
        """Computes fp32 [n, dimensions], or [T, hidden] for the output TOKENS."""
        placed = self.encoder.ops.place(batch.input_ids, batch.positions, batch.cu_seqlens)
        result: NDArray[np.float32] = compute(self.encoder, placed, output).numpy()
        return result

    def warm_up(self, tokens: int) -> None:
        """Runs a long and a short text once; raises CheckpointError if the weights give no vectors."""
        check_finite(self.run(warm_up_batch(tokens, self.encoder.config)))


def compute(encoder: Encoder, batch: Batch, output: Output) -> torch.Tensor:
    """Computes what the output names, of a batch that the encoder's operations placed."""
    match output:
        case Output.UNIT:
            return encoder.forward(batch)
        case Output.RAW:
            return encoder.forward(batch, normalize=False)
        case Output.TOKENS:
            return encoder.token_states(batch)


def warm_up_batch(tokens: int, config: EncoderConfig) -> PackedBatch:
    """Makes a batch of a text of `tokens`, or as long as the window, and a short text."""
    longest = min(tokens, config.max_position_embeddings)
    vocabulary = np.arange(longest, dtype=np.int32) % config.vocab_size
    return pack([vocabulary, vocabulary[:8]])


def check_finite(vectors: NDArray[np.float32]) -> None:
    if not np.isfinite(vectors).all():
        raise CheckpointError("the weights give vectors that are not finite: the files are damaged")
