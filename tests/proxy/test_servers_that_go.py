"""Servers behind a real Envoy are killed, or drain, while every method is called: nothing is lost."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.envoy_process import envoy, executable, shipped, with_defaults
from proxy.servers import Servers, two_servers
from proxy.workloads import METHODS, Right, Workloads, running

WAIT = 60.0


@pytest.fixture(scope="module")
def servers(tiny_checkpoint: Path) -> Iterator[Servers]:
    executable()
    with two_servers(tiny_checkpoint) as started:
        yield started


@pytest.fixture(scope="module")
def right(servers: Servers) -> Right:
    return Right(servers.addresses[0])


def more_answers(work: Workloads, count: int = 3) -> None:
    """Waits until every method has given so many more."""
    before = dict(work.answers)
    names = [f"{kind} {method}" for kind in ("sync", "asyncio") for method in METHODS]
    give_up = time.monotonic() + WAIT
    while any(work.answers.get(name, 0) < before.get(name, 0) + count for name in names):
        work.check_alive()
        assert time.monotonic() < give_up, f"before {before}, now {work.answers}"
        time.sleep(0.02)


@pytest.mark.parametrize("leave", [Servers.kill, Servers.drain], ids=["killed", "drained"])
@pytest.mark.parametrize("change", [str, with_defaults], ids=["as shipped", "defaults"])
def test_no_call_is_lost(
    servers: Servers,
    right: Right,
    tmp_path: Path,
    leave: Callable[[Servers, int], None],
    change: Callable[[str], str],
) -> None:
    with (
        envoy(tmp_path, change(shipped()), servers.addresses) as address,
        running(address, right, tmp_path) as work,
    ):
        for place in (0, 1):
            more_answers(work)
            leave(servers, place)
            if change is str:
                more_answers(work)  # of the other one; by default Envoy asks the dead one too
            servers.restart(place)
        more_answers(work)
        work.end(WAIT)
    assert work.answers["gemwire embed"] > 0
