"""What counts as a success, what as a failure, and what not at all."""

import asyncio
import time

import pytest

from gemwire_server.errors import InvalidInput
from gemwire_server.fronts.grpc.open_inference.statistics import Statistics


@pytest.mark.parametrize(
    ("error", "fails"),
    [(InvalidInput("EMPTY_TEXT", ""), 1), (ValueError(), 1), (asyncio.CancelledError(), 0)],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_a_failure_unless_the_client_has_gone(error: BaseException, fails: int) -> None:
    statistics = Statistics()
    with pytest.raises(type(error)), statistics.request(time.monotonic() - 0.5):
        raise error
    counted = statistics.message("m", "1").inference_stats
    assert (counted.success.count, counted.fail.count) == (0, fails)
    assert (counted.fail.ns >= 5e8) == bool(fails)


def test_successes_add_up() -> None:
    statistics = Statistics()
    for _ in range(2):
        with statistics.request(time.monotonic() - 0.5):
            statistics.texts += 3
    found = statistics.message("m", "1")
    assert (found.inference_count, found.inference_stats.success.count) == (6, 2)
    assert 1e9 <= found.inference_stats.success.ns < 2e9
    assert abs(found.last_inference / 1000 - time.time()) < 5
