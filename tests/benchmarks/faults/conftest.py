"""Fixtures of the fault suite."""

import pytest

from faults.under_test import ENGINES


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Where the engine is: each test runs with it in the server's process and in its own."""
    assert isinstance(request.param, str)
    return request.param
