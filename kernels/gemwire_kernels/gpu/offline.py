"""What the compiler makes of the kernels, asked on a machine without a GPU.

    python -m gemwire_kernels.gpu.offline [--capability 90] [--shared-memory 232448] [--chained] [--json]

Compiles every kernel as EmbeddingGemma is served (each size of the tile table, both kinds of attention)
and tells registers a thread, bytes spilled, shared memory of a program, which matrix instructions there
are, and at how many places the machine code waits for Hopper's asynchronous ones. Exits with 1 if
something spills or does not fit, or if on Hopper a matrix kernel is without wgmma or waits for each; those
of tiles of few rows must have mma.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from gemwire_kernels.gpu import Attention, GpuOps, TileTable, find_table
from gemwire_kernels.gpu.compiling import launches
from gemwire_kernels.gpu.matmul import has_copy_engine
from gemwire_kernels.ops import RotaryTable

HIDDEN, INTERMEDIATE, VOCABULARY, POSITIONS, WINDOW = 768, 1152, 262144, 2048, 256
ATTENTION = Attention(num_heads=3, num_kv_heads=1, head_dim=256)
MATRIX_KERNELS = ("qkv_norm_rope", "attention", "linear", "gate_up_geglu")
# Kernels of the smallest batches, whose tiles have fewer rows than Hopper's own matrix instruction.
FEW_ROWS = ("linear_at_once", "gate_up_geglu_at_once")
# In the loop, behind it, and before an epilogue inside of it; where the assembler gives up on overlap, it
# waits after each instruction.
MATRIX_WAITS = 3
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Resources:
    """One compiled kernel: registers a thread, spilled and shared bytes, the matrix instruction,
    and the number of places that wait for that instruction.
    """

    registers: int
    spilled: int
    shared: int
    matrix: str
    waits: int

    @classmethod
    def of(cls, kernel: Any) -> "Resources":
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(kernel.asm["cubin"])
            file.flush()
            usage, code = (
                subprocess.run(
                    [CUOBJDUMP, option, file.name], capture_output=True, text=True, check=True
                ).stdout
                for option in ("-res-usage", "-sass")
            )
        ptx = kernel.asm["ptx"]
        kinds = ("wgmma.mma_async", "tcgen05.mma", "mma.sync")
        found = [kind.split(".")[0] for kind in kinds if kind in ptx]
        return cls(
            registers=_figure(r"REG:(\d+)", usage),
            spilled=_figure(r"STACK:(\d+)", usage),
            shared=kernel.metadata.shared,
            matrix=" ".join(found) or "-",
            waits=code.count("WARPGROUP.DEPBAR"),
        )


class _Target:
    """Stands in for a driver, of a device that this machine lacks."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        return 0


def compile_all(
    capability: int, shared_memory: int, dtype: torch.dtype, chained: bool | None = None
) -> dict[str, Resources]:
    """Compiles every kernel of every size, and returns them by name. Afterwards the process can run
    no kernel. `chained` is for all sizes; None: as the table says.
    """
    driver.set_active(_Target(capability))
    name = str(dtype).removeprefix("torch.")
    table = find_table(f"sm_{capability}", shared_memory, name, major=capability // 10)
    if chained is not None:
        table = table.with_chained(chained)
    copy_engine = has_copy_engine(capability // 10)
    found = {}
    with launches(compile_only=True) as compiled:
        for tile_set in table.sets:
            tokens = tile_set.max_tokens or 16896
            for note in _operations(table, tokens, dtype, copy_engine):
                for kernel in compiled:
                    kernel_name = kernel.metadata.name.strip("_").removesuffix("_kernel")
                    label = " ".join(filter(None, (kernel_name, f"{tokens} tokens", note)))
                    found[label] = Resources.of(kernel)
                compiled.clear()
    return found


def _operations(
    table: TileTable, tokens: int, dtype: torch.dtype, copy_engine: bool
) -> Iterator[str]:
    """Calls every operation on tensors without memory, and yields after each how it was specialized."""
    device = torch.device("meta")
    ops = GpuOps(
        ATTENTION, table, dtype=dtype, device=device, multiprocessors=132, copy_engine=copy_engine
    )
    batch = ops.block(tokens).batch

    def tensor(*shape: int, dtype: torch.dtype = dtype) -> torch.Tensor:
        return torch.empty(*shape, dtype=dtype, device=device)

    def fp32(*shape: int) -> torch.Tensor:
        return tensor(*shape, dtype=torch.float32)

    norm, head_norm = fp32(HIDDEN), fp32(ATTENTION.head_dim)
    angles = tensor(POSITIONS, ATTENTION.head_dim // 2, dtype=ops.rotary_dtype)
    residual, x = ops.embed_norm(batch, tensor(VOCABULARY, HIDDEN), 1.0, norm, EPS)
    q, k, v = ops.qkv_norm_rope(
        batch, x, tensor(5 * ATTENTION.head_dim, HIDDEN), head_norm, head_norm,
        RotaryTable(angles, angles), ATTENTION.num_heads, EPS,
    )  # fmt: skip
    y = ops.linear(batch, x, tensor(HIDDEN, HIDDEN))
    x = ops.norm_residual_norm(batch, y, residual, norm, norm, EPS)
    h = ops.gate_up_geglu(batch, x, tensor(2 * INTERMEDIATE, HIDDEN))
    ops.head(batch, ops.pool(batch, residual, norm, EPS), fp32(HIDDEN, HIDDEN))
    yield ""
    ops.linear(batch, h, tensor(HIDDEN, INTERMEDIATE))
    yield "down"
    ops.attention(batch, q, k, v, 1.0, WINDOW)
    yield "window"
    ops.attention(batch, q, k, v, 1.0, None)
    yield "full"


def faults(found: dict[str, Resources], capability: int, shared_memory: int) -> list[str]:
    """Returns the faults of the kernels, in words."""
    wrong = []
    for name, resources in found.items():
        if resources.spilled:
            wrong.append(f"{name} spills {resources.spilled} bytes")
        if resources.shared > shared_memory:
            wrong.append(f"{name} needs {resources.shared} bytes of shared memory")
        expected = "mma" if name.startswith(FEW_ROWS) else "wgmma"
        if capability == 90 and name.startswith(MATRIX_KERNELS) and resources.matrix != expected:
            wrong.append(f"{name} has {resources.matrix} for {expected}")
        if resources.waits > MATRIX_WAITS:
            wrong.append(f"{name} waits for wgmma at {resources.waits} places: one after the other")
    return wrong


def _figure(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"cuobjdump tells no {pattern}")
    return int(match[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--capability", type=int, default=90, help="90: sm_90a (default)")
    parser.add_argument("--shared-memory", type=int, default=232448, help="bytes (default: 232448)")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument(
        "--chained",
        action=argparse.BooleanOptionalAction,
        help="programmatic dependent launch in all sizes, or in none (default: as the table says)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    args = parser.parse_args()
    found = compile_all(
        args.capability, args.shared_memory, getattr(torch, args.dtype), args.chained
    )
    if args.json:
        print(json.dumps({name: asdict(resources) for name, resources in found.items()}, indent=1))
    else:
        print(f"{'sm_' + str(args.capability):44} registers  spilled   shared  waits  matrix")
        for name, r in found.items():
            print(f"{name:44} {r.registers:9} {r.spilled:8} {r.shared:8} {r.waits:6}  {r.matrix}")
    wrong = faults(found, args.capability, args.shared_memory)
    for line in wrong if args.dtype == "bfloat16" else ():
        print(line, file=sys.stderr)
    return 1 if wrong and args.dtype == "bfloat16" else 0


if __name__ == "__main__":
    sys.exit(main())
