"""Programmatic dependent launch: a kernel's programs come up while the last of the one before it run."""

from typing import Any

import triton
import triton.language as tl

from gemwire_kernels.gpu.batch import Plan


@triton.jit
def chain(CHAINED: tl.constexpr):
    """The first statement of every kernel: lets the next one come up, and waits until what is before has
    ended and its results are in memory. As every kernel waits, so has all that came before those."""
    if CHAINED:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()


def chaining(plan: Plan) -> dict[str, Any]:
    """Options of a launch whose kernel begins with `chain`."""
    return {"CHAINED": plan.chained, "launch_pdl": plan.chained}
