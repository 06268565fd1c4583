"""Watches the kernels that calls launch, and compiles them without launching any."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import triton
from triton.runtime.jit import JITFunction


@contextmanager
def launches(*, compile_only: bool = False) -> Iterator[list[Any]]:
    """Collects the compiled kernels of the launches inside. With `compile_only` nothing is launched: the
    memory that calls return holds anything. Not for two threads at once.
    """
    kernels: list[Any] = []
    run = JITFunction.run

    def noting(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        kernel = run(self, *args, grid=grid, warmup=warmup or compile_only, **kwargs)
        kernels.append(kernel)
        return kernel

    JITFunction.run = noting
    try:
        yield kernels
    finally:
        JITFunction.run = run


def compile_together(calls: Iterable[Callable[[], object]]) -> None:
    """Compiles the kernels that the calls launch, a thread for each core, and launches none of them.

    A kernel that does not compile raises its error where it is launched. Not for two threads at once.
    """
    if triton.knobs.runtime.interpret:
        return  # the interpreter compiles nothing, and would run the calls
    with (
        launches(compile_only=True),
        ThreadPoolExecutor() as threads,
        triton.AsyncCompileMode(threads, ignore_errors=True),
    ):
        for call in calls:
            call()
