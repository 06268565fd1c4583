"""Owns the GPU: each batch is one copy, one graph replay and one copy back, queued without waiting.

Batches go through buckets: room of a fixed size whose kernels were captured once as a CUDA graph. Counts
and lengths are data (see gemwire_kernels.gpu.batch), so a bucket runs every batch that fits it. Only unit
vectors have a graph: the other outputs are rare, and their kernels are launched one by one.
"""

import ctypes
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from triton.errors import TritonError

from gemwire_kernels import reference
from gemwire_kernels.gpu import Attention, GpuOps, TileTable
from gemwire_kernels.gpu.compiling import compile_together
from gemwire_server.checkpoints import Checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.interface import Output
from gemwire_server.engine.packing import PackedBatch, pack
from gemwire_server.errors import DeviceError, DeviceLost, one_line
from gemwire_server.models.config import EncoderConfig
from gemwire_server.models.encoder import Encoder
from gemwire_server.runners.cpu import DTYPES, check_finite, compute, warm_up_batch

log = logging.getLogger(__name__)

# Multiples of 128 rows whose tiles fill waves of 132 multiprocessors (5,632 and up), and small ones in
# which a query does not pay for rows that are not there: the copy engine reads no more than a bucket has.
BUCKETS = (16, 32, 64, 128, 256, 512, 1024, 2048, 2816, 5632, 11264, 16896)

# One token, less and more than one tile, and beyond the window.
CHECKED_LENGTHS = (1, 5, 64, 130, 600)
# Largest 1 - cos between two computations in bfloat16: a gross check, `gemwire verify` is the fine one.
AGREEMENT = 1e-2

Wait = Callable[[], NDArray[np.float32]]


class CudaRunner:
    """Runs an encoder on a CUDA device. `start` and what it returns may be called by two threads."""

    depth = 2
    # A step of some milliseconds, whose tensors fit the L2 of a Hopper card.
    batch_tokens = 5632

    def __init__(
        self, encoder: Encoder, ops: GpuOps, device: torch.device, *, graphs: bool
    ) -> None:
        self.encoder = encoder
        self.device = device
        self._ops = ops
        self._graphs = graphs
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._buckets: list[_Bucket] = []
        self._results: Iterator[torch.Tensor] = iter(())

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, config: ServerConfig, device: torch.device
    ) -> "CudaRunner":
        """Loads a checkpoint. Raises DeviceError if the device has no room, or if the kernels lack
        the model's sizes.
        """
        dtype = torch.bfloat16 if config.dtype == "auto" else DTYPES[config.dtype]
        residual = {"fp32": torch.float32, "bf16": torch.bfloat16}[config.residual]
        started = time.monotonic()
        with _starting(device):
            try:
                ops = GpuOps.on(
                    device,
                    attention_of(checkpoint.config),
                    dtype,
                    tile_file=Path(config.tile_table) if config.tile_table else None,
                    residual_dtype=residual,
                    deterministic=config.deterministic,
                )
                encoder = checkpoint.load_encoder(ops, dtype, device)
            except ValueError as error:  # the kernels lack these sizes
                raise DeviceError(f"{device}: {error}") from None
        log.info("loaded %s in %.1f s", checkpoint.name, time.monotonic() - started)
        return cls(encoder, ops, device, graphs=config.cuda_graphs)

    @property
    def dtype_name(self) -> str:
        return str(self.encoder.dtype).removeprefix("torch.")

    @property
    def description(self) -> str:
        """The device and the operations, for people."""
        name = torch.cuda.get_device_properties(self.device).name
        graphs = "graphs" if self._graphs else "no graphs"
        table = self._ops.table
        how = f"{graphs}{_chained(table)}"
        return f"{self.device} {name}, {self.dtype_name}, {how}, tiles: {table.source}"

    def warm_up(self, tokens: int) -> None:
        """Compiles and captures every bucket for steps of up to `tokens`, and the longest text.

        Raises CheckpointError if the weights give no vectors, and DeviceError if there is no room, if the
        kernels do not run, or if their vectors are not those of plain PyTorch on the same device.
        """
        started = time.monotonic()
        config = self.encoder.config
        largest = max(tokens, config.max_position_embeddings)
        sizes = [size for size in BUCKETS if size < largest] + [largest]
        with _starting(self.device):
            self._buckets = [_Bucket(self.encoder, self._ops, size, self.depth) for size in sizes]
            with torch.cuda.stream(self._stream):
                compile_together(bucket.forward for bucket in self._buckets)
                # The largest first: the smaller ones take their memory from its pool.
                for bucket in reversed(self._buckets):
                    self._ready(bucket)
            shape = largest, self.encoder.dimensions
            self._results = cycle([torch.empty(shape, pin_memory=True) for _ in range(self.depth)])
            # Every output once: PyTorch keeps the memory that those without a graph need.
            for output in Output:
                check_finite(self.run(warm_up_batch(largest - 8, config), output))
            self._check_against_reference()
        log.info(
            "%d buckets of up to %d tokens in %.1f s, %.2f GB of %s",
            len(sizes),
            largest,
            time.monotonic() - started,
            torch.cuda.memory_reserved(self.device) / 1e9,
            self.device,
        )

    def _ready(self, bucket: "_Bucket") -> None:
        """Runs a bucket once, which loads its kernels, and captures it."""
        bucket.fill(warm_up_batch(bucket.size - 8, self.encoder.config))
        bucket.forward()
        if self._graphs:
            bucket.capture(self._pool, self._stream)

    def _check_against_reference(self) -> None:
        """Checks every bucket: an untried card, driver or compiler must not serve wrong vectors."""
        config = self.encoder.config
        random = np.random.default_rng(0)
        lengths = [n for n in CHECKED_LENGTHS if n <= config.max_position_embeddings]
        texts = [random.integers(0, config.vocab_size, n, dtype=np.int32) for n in lengths]
        batch = pack(texts)
        placed = reference.place(batch.input_ids, batch.positions, batch.cu_seqlens)
        on_device = placed._replace(
            input_ids=placed.input_ids.to(self.device), positions=placed.positions.to(self.device)
        )
        expected = self.encoder.with_ops(reference).forward(on_device).cpu().numpy()
        first = None
        for bucket in self._buckets:
            fitting = int(np.sum(np.cumsum(lengths) <= bucket.size))
            vectors = self._start_in(bucket, pack(texts[:fitting]))()
            first = vectors if first is None else first
            same = min(fitting, len(first))
            if self._ops.deterministic and not np.array_equal(vectors[:same], first[:same]):
                log.warning(
                    "a text has other bits in steps of %d tokens than in smaller ones on %s: measure its "
                    "tiles with `gemwire tune`, and please report it",
                    bucket.size,
                    self.device,
                )
            distance = float(np.max(1 - (vectors * expected[:fitting]).sum(axis=1)))
            if not distance <= AGREEMENT:
                name = torch.cuda.get_device_name(self.device)
                raise DeviceError(
                    f"the kernels give other vectors than PyTorch on {name} (1 - cos up to "
                    f"{distance:.1e}): serve with --device cpu, and please report it"
                )

    def run(self, batch: PackedBatch, output: Output = Output.UNIT) -> NDArray[np.float32]:
        """Computes fp32 [n, dimensions], or [T, hidden] for the output TOKENS."""
        return self.start(batch, output)()

    def start(self, batch: PackedBatch, output: Output = Output.UNIT) -> Wait:
        """Queues the batch and returns a call that waits for its vectors. The step `depth` before
        must have been waited for.
        """
        rows = max(batch.num_tokens, batch.num_texts)
        bucket = next((b for b in self._buckets if rows <= b.size), None)
        if bucket is None:
            raise ValueError(f"{rows} rows, but warm_up made no bucket of that size")
        return self._start_in(bucket, batch, output)

    def _start_in(
        self, bucket: "_Bucket", batch: PackedBatch, output: Output = Output.UNIT
    ) -> Wait:
        rows = batch.num_tokens if output is Output.TOKENS else batch.num_texts
        try:
            with torch.inference_mode(), torch.cuda.stream(self._stream):
                bucket.fill(batch)
                result = bucket.forward(output)[:rows]
                if output is Output.UNIT:
                    pinned = next(self._results)[:rows]
                    result = pinned.copy_(result, non_blocking=True)
                done = torch.cuda.Event()  # type: ignore[no-untyped-call]
                done.record(self._stream)
        except RuntimeError as error:
            raise self._verdict(error) from error
        return partial(self._wait, done, result)

    def _wait(self, done: torch.cuda.Event, result: torch.Tensor) -> NDArray[np.float32]:
        try:
            done.synchronize()
            on_host = result.cpu()  # a pinned buffer itself, or a copy of what is on the device
        except RuntimeError as error:
            raise self._verdict(error) from error
        # A copy: a pinned buffer is the next but one step's.
        return on_host.numpy().copy() if on_host is result else on_host.numpy()

    def _verdict(self, error: RuntimeError) -> Exception:
        """Returns the error itself, or DeviceLost: after a fault every later call of the context fails."""
        try:
            torch.cuda.synchronize(self.device)
        except RuntimeError as fault:
            log.error("%s: %s", self.device, one_line(fault))
            # Never freed: to free pinned memory asks CUDA, and PyTorch ends the process if that fails.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
            return DeviceLost(f"{self.device}: {type(error).__name__}")
        return error


class _Bucket:
    """Memory for batches of up to `size` tokens, and the graph that runs them."""

    def __init__(self, encoder: Encoder, ops: GpuOps, size: int, depth: int) -> None:
        self.size = size
        self._encoder = encoder
        self._block = ops.block(size)
        # A copy may still be reading one host block while the next batch is written to another.
        self._hosts = cycle([self._block.host() for _ in range(depth)])
        self._graph: torch.cuda.CUDAGraph | None = None
        self._vectors: torch.Tensor | None = None

    def fill(self, batch: PackedBatch) -> None:
        """Copies a batch in, in the current stream's order; the copy `depth` calls ago must be done."""
        host = next(self._hosts)
        self._block.fill(host, batch.input_ids, batch.positions, batch.cu_seqlens)
        self._block.upload(host)

    def forward(self, output: Output = Output.UNIT) -> torch.Tensor:
        """Computes rows of the batch that was filled in, then of older ones: fp32 [size, dimensions], or
        [size, hidden] for the output TOKENS."""
        if output is not Output.UNIT or self._graph is None or self._vectors is None:
            return compute(self._encoder, self._block.batch, output)
        self._graph.replay()
        return self._vectors

    def capture(self, pool: Any, stream: torch.cuda.Stream) -> None:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=stream):
            vectors = self._encoder.forward(self._block.batch)
        self._graph, self._vectors = graph, vectors


def _chained(table: TileTable) -> str:
    """Says for people which batches have chained launches (see gemwire_kernels.gpu.launch)."""
    limits = [tiles.max_tokens for tiles in table.sets if tiles.chained]
    if not limits:
        return ""
    return ", chained" if None in limits else f", chained up to {limits[-1]} tokens"


def attention_of(config: EncoderConfig) -> Attention:
    """Returns the sizes of attention. Raises DeviceError if they differ by layer, as a batch is
    planned for one size.
    """
    sizes = {(layer.num_key_value_heads, layer.head_dim) for layer in config.layers}
    if len(sizes) > 1:
        raise DeviceError(
            "layers differ in head_dim or num_key_value_heads, which the GPU kernels do not implement: "
            "serve with --device cpu"
        )
    (num_kv_heads, head_dim), *_ = sizes
    return Attention(
        num_heads=config.num_attention_heads, num_kv_heads=num_kv_heads, head_dim=head_dim
    )


@contextmanager
def _starting(device: torch.device) -> Iterator[None]:
    """Turns the errors that CUDA and Triton raise at start into DeviceError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise _no_room(device) from None
    except (RuntimeError, TritonError, DeviceLost) as error:
        # Triton raises RuntimeError too, where no C compiler is found for its launchers.
        raise DeviceError(f"{device}: {one_line(error)}") from error


def _no_room(device: torch.device) -> DeviceError:
    free, total = torch.cuda.mem_get_info(device)
    return DeviceError(
        f"{device} has no room for the model: {free / 1e9:.1f} of {total / 1e9:.1f} GB are free; choose "
        "another with --device, or take smaller steps with --max-batch-tokens"
    )
