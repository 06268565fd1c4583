"""Fixtures of the fault suite."""

import pytest

from faults.under_test import ENGINES


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each test runs with each place that the engine may be in."""
    assert isinstance(request.param, str)
    return request.param
