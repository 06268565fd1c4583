"""Programmatic dependent launch: a kernel's programs come up while the last of the one before it run."""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan

MOST_REGISTERS = 255  # of a thread


@triton.jit
def release(CHAINED: tl.constexpr):
    """Lets the programs of the next kernel come up; every kernel begins with it."""
    if CHAINED:
        tl.extra.cuda.gdc_launch_dependents()


@triton.jit
def await_inputs(CHAINED: tl.constexpr):
    """Waits until the kernel before has ended and its results are in memory.

    Stands in every kernel before any read of another kernel's output. As every kernel waits, all
    earlier kernels have ended too. What no kernel writes, the weights and the batch's plan, may be
    read before.
    """
    if CHAINED:
        tl.extra.cuda.gdc_wait()


@triton.jit
def fetch(pointer, BYTES: tl.constexpr):
    """Prefetches BYTES from the pointer on, a multiple of 16, into the L2 while the kernel before
    still runs.

    Called before `await_inputs`, for a program's first weights: no kernel writes them, and they are most
    of the reads of a small batch. One thread issues the prefetch, and no thread waits for its end.
    """
    if BYTES > 0:
        tl.inline_asm_elementwise(
            """
            {
            .reg .pred first;
            mov.u32 $0, %tid.x;
            setp.eq.u32 first, $0, 0;
            @first cp.async.bulk.prefetch.L2.global [$1], $2;
            }
            """,
            "=r,l,r",
            [pointer.to(tl.uint64), tl.full((), BYTES, tl.int32)],
            dtype=tl.int32,
            is_pure=False,
            pack=1,
        )


def fetched(plan: Plan, weight: Tensor, rows: int) -> int:
    """Returns the bytes of that many rows for `fetch`; 0 where a last block would reach beyond the end."""
    whole = plan.chained and len(weight) % rows == 0
    return rows * weight.stride(0) * weight.element_size() if whole else 0


def chaining(plan: Plan) -> dict[str, Any]:
    """Returns the options of a launch whose kernel calls `release` and `await_inputs`.

    A product and a sum are one instruction with one rounding. This is set here, as Triton's default
    may change between versions, and a text's bits with it. Chained batches have at most a program or two
    on a multiprocessor: the compiler need not save registers.
    """
    few_programs = {"launch_pdl": True, "maxnreg": MOST_REGISTERS} if plan.chained else {}
    return {"CHAINED": plan.chained, "enable_fp_fusion": True, **few_programs}
