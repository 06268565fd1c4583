"""Changes modules for a dry run, right after Python has imported them, in every process of the run."""

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Hook = Callable[[Any], None]


def install() -> None:
    sys.meta_path.insert(0, _Finder())


def _torch(module: Any) -> None:
    from dry_run import fake_cuda

    fake_cuda.install()


def _interpreter(module: Any) -> None:
    """Imports the stand-in here, as it needs Triton, which this import completes."""
    from dry_run import fake_triton

    fake_triton.install(module)


def _varlen(module: Any) -> None:
    from dry_run import fake_cuda

    module.varlen_attn = fake_cuda.checked(module.varlen_attn)


def _timing(module: Any) -> None:
    module.LEAST_CALLS = module.LEAST_ROUNDS = 1


def _tune(module: Any) -> None:
    module.LARGEST_TOKENS = 48
    module.measured_tokens = lambda limits: tuple(48 - 8 * n for n in reversed(range(len(limits))))


def _cuda(module: Any) -> None:
    module.BUCKETS = (16,)
    module.CudaRunner.batch_tokens = 40


def _verify(module: Any) -> None:
    module.embed.__defaults__ = (40,)


HOOKS: dict[str, Hook] = {
    "torch": _torch,
    "torch.nn.attention.varlen": _varlen,
    "triton.runtime.interpreter": _interpreter,
    # Fewer and smaller: the interpreter takes some milliseconds for each program of a kernel.
    "gemwire_kernels.gpu.timing": _timing,
    "gemwire_kernels.gpu.tune": _tune,
    "gemwire_server.runners.cuda": _cuda,
    "gemwire_server.verify.embedding": _verify,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what the others find, and calls a module's hook once the module has run."""

    def __init__(self) -> None:
        self._under_way: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in HOOKS or fullname in self._under_way:
            return None
        self._under_way.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._under_way.remove(fullname)
        if spec is None or spec.loader is None:
            return None
        run: Hook = spec.loader.exec_module

        def run_and_hook(module: ModuleType) -> None:
            run(module)
            HOOKS[fullname](module)

        spec.loader.exec_module = run_and_hook  # type: ignore[method-assign]
        return spec
