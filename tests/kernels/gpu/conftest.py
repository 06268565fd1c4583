"""Without Triton, these tests cannot be imported: each file is skipped instead."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest


class WithoutTriton(pytest.Module):
    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        pytest.skip("Triton is not installed here", allow_module_level=True)


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    if find_spec("triton") is None:
        return WithoutTriton.from_parent(parent, path=module_path)
    return None
