"""What the tests of the GPU's owner share. Without a CUDA device they are skipped."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from gemwire_server.checkpoints.synthetic import make_checkpoint
from gpu.runners import load

if TYPE_CHECKING:
    from gemwire_server.runners.cuda import CudaRunner

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def full_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The geometry that is served, with random weights."""
    directory = tmp_path_factory.mktemp("checkpoints") / "full"
    make_checkpoint(directory, geometry="embeddinggemma-300m", seed=7)
    return directory


@pytest.fixture(scope="session")
def full(full_checkpoint: Path) -> "CudaRunner":
    """As it is served by default."""
    return load(full_checkpoint)


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint: Path) -> "CudaRunner":
    return load(tiny_checkpoint)


@pytest.fixture(autouse=True)
def finished() -> Iterator[None]:
    """A fault is the test's that caused it."""
    yield
    torch.cuda.synchronize()
