"""Which device serves, and what is said where the one that was asked for cannot."""

import builtins
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import triton

from gemwire_server.checkpoints import Checkpoint, open_checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.config.sources import ConfigError
from gemwire_server.errors import DeviceError
from gemwire_server.runners import choose as devices
from gemwire_server.runners.choose import check_cuda, load_runner
from gemwire_server.runners.cpu import CpuRunner
from support.calling import gemwire, one_line

NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
CARD = torch.device("cuda:0")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """PyTorch as it answers on a machine with such a card; none is touched."""

    def pretend(capability: tuple[int, int] = (9, 0), count: int = 1) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old Card")

    return pretend


@pytest.mark.parametrize(
    "command", [("serve", "--address", "127.0.0.1:0"), ("embed", "-", "-o", "-"), ("verify",)]
)
def test_cuda_without_a_gpu_is_one_line(command: tuple[str, ...], tiny_checkpoint: Path) -> None:
    done = gemwire(
        *command, "--model", str(tiny_checkpoint), "--device", "cuda", input="a\n", environ=NO_GPU
    )
    assert done.returncode == 1 and done.stdout == ""
    assert "there is no CUDA device" in one_line(done.stderr)
    assert "--device cpu" in done.stderr


def test_auto_without_a_gpu_serves_on_the_cpu_and_says_nothing(tiny_checkpoint: Path) -> None:
    done = gemwire(
        "embed", "-", "-o", "-", "--model", str(tiny_checkpoint), input="a\n", environ=NO_GPU
    )
    assert done.returncode == 0 and done.stdout.startswith("{")
    assert "cuda" not in done.stderr.lower() and "warning" not in done.stderr.lower()


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:1000", "CUDA", ""])
def test_a_name_that_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="must be auto, cpu, cuda or cuda:N"):
        ServerConfig(model="m", device=name)


def test_a_bfloat16_residual_needs_a_gpu(tiny_checkpoint: Path) -> None:
    flags = ("--model", str(tiny_checkpoint), "--residual", "bf16", "--device", "cpu")
    done = gemwire("verify", *flags)
    assert done.returncode == 2 and "fp32 on a CPU" in one_line(done.stderr)
    assert ServerConfig(model="m", residual="bf16").residual == "bf16"  # auto may find one


def test_a_card_that_can_serve_passes(card: Callable[..., None]) -> None:
    for capability in ((8, 0), (8, 9), (9, 0), (12, 0)):
        card(capability, count=2)
        check_cuda(torch.device("cuda:1"))


def refusal(device: torch.device = CARD) -> str:
    with pytest.raises(DeviceError) as caught:
        check_cuda(device)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_old_card_is_refused(card: Callable[..., None]) -> None:
    card((7, 5))
    assert "Old Card has compute capability 7.5" in refusal()


def test_a_card_that_is_not_there_is_refused(card: Callable[..., None]) -> None:
    card(count=2)
    assert refusal(torch.device("cuda:2")) == (
        "there is no cuda:2: this machine has cuda:0 to cuda:1"
    )


def test_a_card_that_cannot_be_used_is_refused(
    card: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(device: torch.device) -> tuple[int, int]:
        raise RuntimeError("CUDA error: device busy\nCompile with TORCH_USE_CUDA_DSA")

    card()
    monkeypatch.setattr(torch.cuda, "get_device_capability", broken)
    assert refusal() == "cuda:0: CUDA error: device busy"


def test_no_triton_or_an_old_one_is_refused(
    card: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    card()
    with monkeypatch.context() as patch:
        patch.setattr(triton, "__version__", "3.5.1")
        assert "Triton 3.5.1 is too old" in refusal()
        patch.setattr(triton, "__version__", "3.10.0+git1234")
        check_cuda(CARD)
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "triton":
            raise ModuleNotFoundError(name=name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "need Triton: pip install" in refusal()


def loads(checkpoint: Path, device: str) -> Any:
    return load_runner(
        open_checkpoint(str(checkpoint)), ServerConfig(model=str(checkpoint), device=device)
    )


def test_auto_falls_back_with_one_warning(
    tiny_checkpoint: Path, card: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    card((7, 0))
    with caplog.at_level(logging.WARNING):
        assert isinstance(loads(tiny_checkpoint, "auto"), CpuRunner)
    assert len(caplog.records) == 1
    assert "serving on the CPU: Old Card has" in caplog.records[0].getMessage()
    caplog.clear()
    with pytest.raises(DeviceError, match="Old Card"):
        loads(tiny_checkpoint, "cuda")
    assert isinstance(loads(tiny_checkpoint, "cpu"), CpuRunner)
    assert caplog.records == []


def test_auto_falls_back_where_the_kernels_do_not_run(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(checkpoint: Checkpoint, config: ServerConfig) -> Any:
        raise DeviceError("cuda:0: Failed to find C compiler.")

    monkeypatch.setattr(devices, "_load_cuda", broken)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with caplog.at_level(logging.WARNING):
        assert isinstance(loads(tiny_checkpoint, "auto"), CpuRunner)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_keeps_a_gpu_from_serving_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime.errors import OutOfResources

    from gemwire_server.runners import cuda

    def starting(error: Exception) -> str:
        with pytest.raises(DeviceError) as caught, cuda._starting(CARD):
            raise error
        return str(caught.value)

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2_000_000_000, 80_000_000_000))
    assert "no room for the model: 2.0 of 80.0 GB" in starting(torch.OutOfMemoryError("big"))
    fault = torch.AcceleratorError("CUDA error: an illegal memory access\nFor debugging consider")
    assert starting(fault) == "cuda:0: CUDA error: an illegal memory access"
    assert "Failed to find C compiler" in starting(RuntimeError("Failed to find C compiler."))
    assert "shared memory" in starting(OutOfResources(300_000, 232_448, "shared memory"))
    with pytest.raises(TypeError), cuda._starting(CARD):  # a mistake of ours stays one
        raise TypeError
