"""PyTorch's CUDA without CUDA: tensors of a "cuda" device are in the CPU's memory, streams do nothing, and
torch.compile compiles nothing. For a dry run of `make gpu`: it shows that the programs run, nothing of how
fast, and nothing of what a card computes."""

import functools
import inspect
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from dry_run.fake_graph import Graph, capture, compiled

NAME = "dry run without a GPU"
CPU = torch.device("cpu")
PROPERTIES = SimpleNamespace(
    name=NAME,
    major=9,
    minor=0,
    multi_processor_count=2,  # each program of a persistent kernel has several tiles
    total_memory=1 << 30,
    L2_cache_size=1 << 10,
    shared_memory_per_block_optin=232448,
)


def install() -> None:
    """Replaces PyTorch's CUDA for the rest of the process, in all of its threads."""
    fakes: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_properties": lambda device=None: PROPERTIES,
        "get_device_capability": lambda device=None: (PROPERTIES.major, PROPERTIES.minor),
        "get_device_name": lambda device=None: NAME,
        "mem_get_info": lambda device=None: (PROPERTIES.total_memory, PROPERTIES.total_memory),
        "memory_reserved": lambda device=None: 0,
        "synchronize": lambda device=None: None,
        "empty_cache": lambda: None,
        "device": _context,
        "stream": _context,
        "graph_pool_handle": lambda: (0, 0),
        "current_stream": lambda device=None: Stream(),
        "Stream": Stream,
        "Event": Event,
        "CUDAGraph": Graph,
        "graph": capture,
    }
    for name, fake in fakes.items():
        setattr(torch.cuda, name, fake)
    torch.Generator = Generator  # type: ignore[misc]
    torch.compile = _compile  # type: ignore[assignment]
    torch.nn.Module.compile = lambda module, **options: None  # type: ignore[method-assign]
    profile = torch.profiler.profile
    torch.profiler.profile = lambda activities: profile(  # type: ignore[assignment, misc]
        activities=[torch.profiler.ProfilerActivity.CPU]
    )
    OnTheCpu().__enter__()
    begin = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]

    def in_the_mode(thread: threading.Thread) -> None:
        with OnTheCpu():
            begin(thread)

    threading.Thread._bootstrap_inner = in_the_mode  # type: ignore[attr-defined]


class OnTheCpu(TorchFunctionMode):
    """Calls every function of PyTorch that names a CUDA device with the CPU instead."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.pin_memory:
            return args[0]
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        kwargs = {key: _moved(value) for key, value in (kwargs or {}).items()}
        kwargs.pop("pin_memory", None)
        return func(*map(_moved, args), **kwargs)


def _moved(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("cuda"):
        return CPU
    return CPU if isinstance(value, torch.device) and value.type == "cuda" else value


class Generator(torch._C.Generator):
    def __new__(cls, device: Any = None) -> "Generator":
        return super().__new__(cls, "cpu")  # type: ignore[call-arg]


class Stream:
    def __init__(self, device: Any = None) -> None:
        pass

    def wait_stream(self, other: "Stream") -> None:
        pass


class Event:
    def __init__(self, enable_timing: bool = False) -> None:
        self._at = 0.0

    def record(self, stream: Stream | None = None) -> None:
        self._at = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: "Event") -> float:
        return (other._at - self._at) * 1e3


@contextmanager
def _context(what: Any) -> Iterator[None]:
    yield


def _compile(function: Any, **options: Any) -> Any:
    return compiled(function)


def checked(varlen_attn: Callable[..., Any]) -> Callable[..., torch.Tensor]:
    """Returns a stand-in that computes what varlen_attn is documented to, and refuses other arguments.

    PyTorch has no kernel of varlen_attn for a CPU.
    """
    signature = inspect.signature(varlen_attn)

    @functools.wraps(varlen_attn)
    def attend(*args: Any, **kwargs: Any) -> torch.Tensor:
        given = signature.bind(*args, **kwargs).arguments
        query, key, value = given["query"], given["key"], given["value"]
        if key.shape[1] != query.shape[1]:
            assert given["enable_gqa"]
            key, value = (
                t.repeat_interleave(query.shape[1] // t.shape[1], 1) for t in (key, value)
            )
        reach = given["window_size"][0]
        out = torch.full_like(query, torch.nan)  # of no text
        for low, high in itertools.pairwise(given["cu_seq_q"].tolist()):
            q, k, v = (t[low:high].transpose(0, 1) for t in (query, key, value))
            at = torch.arange(high - low)
            seen = (at[:, None] - at).abs() <= (reach if reach >= 0 else high)
            scores = (q @ k.transpose(1, 2) * given["scale"]).masked_fill(~seen, -torch.inf)
            out[low:high] = (scores.softmax(-1) @ v).transpose(0, 1)
        return out

    return attend
