"""Compiles kernels side by side, before they are launched."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import triton
from triton.runtime.jit import JITFunction


def compile_together(calls: Iterable[Callable[[], object]]) -> None:
    """Compiles the kernels that the calls launch, a thread for each core.

    Launches none of them: the memory that the calls return holds anything. A kernel that does not compile
    raises its error where it is launched. Not for two threads at once.
    """
    if triton.knobs.runtime.interpret:
        return  # the interpreter compiles nothing, and would run the calls
    run = JITFunction.run

    def only_compile(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        return run(self, *args, grid=grid, warmup=True, **kwargs)

    JITFunction.run = only_compile
    try:
        with (
            ThreadPoolExecutor() as threads,
            triton.AsyncCompileMode(threads, ignore_errors=True),
        ):
            for call in calls:
                call()
    finally:
        JITFunction.run = run
