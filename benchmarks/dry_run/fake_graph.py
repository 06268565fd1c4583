"""CUDA graphs without CUDA: a replay does again what PyTorch and Triton did inside the capture.

As on a card, a replay writes to the memory that the capture wrote to, and asking for a number on the host
inside a capture is an error.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

Call = Callable[[], object]


class Graph:
    """Stands for torch.cuda.CUDAGraph."""

    under_capture: "Graph | None" = None

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def replay(self) -> None:
        assert self.calls, "replayed before anything was captured"
        for call in self.calls:
            call()


@contextmanager
def capture(graph: Graph, pool: Any = None, stream: Any = None) -> Iterator[None]:
    """Stands for torch.cuda.graph."""
    assert Graph.under_capture is None, "a capture inside a capture"
    Graph.under_capture = graph
    try:
        with _Noting(graph):
            yield
    finally:
        Graph.under_capture = None


def launch(call: Call) -> None:
    """Launches a kernel, and notes the launch alone, not what the interpreter does in PyTorch for it."""
    if Graph.under_capture is not None:
        Graph.under_capture.calls.append(call)
    with _disable_current_modes():
        call()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stands for torch.compile(function): nothing is compiled, and a capture notes a call as a whole."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        graph = Graph.under_capture
        with _disable_current_modes():
            out = function(*args, **kwargs)
            if graph is not None:
                graph.calls.append(lambda: _copy(function(*args, **kwargs), out))
        return out

    return call


def _copy(new: Any, old: Any) -> None:
    for before, after in zip(tree_leaves(old), tree_leaves(new), strict=True):
        if isinstance(before, torch.Tensor) and before.data_ptr() != after.data_ptr():
            before.copy_(after)


class _Noting(TorchDispatchMode):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("a number was asked for on the host inside a capture")
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if "empty" not in func.__name__:
            self._graph.calls.append(lambda: _copy(func(*args, **kwargs), out))
        return out
