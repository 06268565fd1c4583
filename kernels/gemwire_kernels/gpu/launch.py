"""Programmatic dependent launch: a kernel's programs come up while the last of the one before it run."""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan


@triton.jit
def chain(CHAINED: tl.constexpr):
    """At the start of every kernel, before it reads what another wrote: lets the next one come up, and
    waits until what is before has ended and its results are in memory. As every kernel waits, so has all
    that came before those."""
    if CHAINED:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()


@triton.jit
def fetch(pointer, BYTES: tl.constexpr):
    """Before `chain`: BYTES from the pointer on, a multiple of 16, are brought to the L2 while the kernel
    before still runs. For a program's first weights, which no kernel writes and of which a small batch's
    reads mostly are. By one thread, and nobody waits for it."""
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
    """Bytes of that many rows for `fetch`; 0, of nothing, where a last block would reach beyond the end."""
    whole = plan.chained and len(weight) % rows == 0
    return rows * weight.stride(0) * weight.element_size() if whole else 0


def chaining(plan: Plan) -> dict[str, Any]:
    """Options of a launch, whose kernel begins with `chain`. A product and a sum are one instruction with
    one rounding: not left to Triton's default, which would change a text's bits from version to version."""
    return {"CHAINED": plan.chained, "launch_pdl": plan.chained, "enable_fp_fusion": True}
