"""Metrics of several processes: one page, whose counts balance after one of them was killed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.held_device import WAIT
from support.scrape import at_rest, scrape

CHILD = """
import sys
from gemwire_server.observe.metrics_files import keep_in_files
keep_in_files(sys.argv[1], sys.argv[2])
from prometheus_client import CollectorRegistry
from gemwire_server.observe.metrics import CallMetrics, EngineMetrics
registry = CollectorRegistry()
calls, engine = CallMetrics(registry), EngineMetrics(registry, max_batch_tokens=8)
EMBED = "gemwire.v1", "Embed"
calls.register(*EMBED)
for line in sys.stdin:
    what, _, count = line.partition(" ")
    for _ in range(int(count)):
        if what == "start":
            calls.call_started(*EMBED)
            engine.accepted(2)
        else:
            calls.call_ended(*EMBED, "OK", "", 0.001)
            engine.dropped("expired", 2)
    print(line, end="", flush=True)
"""
PARENT = """
import sys
from gemwire_server.observe.metrics_files import SharedMetrics, keep_in_files
folder = sys.argv[1]
keep_in_files(folder, "supervisor")
from prometheus_client import CollectorRegistry
from gemwire_server.observe.metrics import SupervisorMetrics
from gemwire_server.observe.metrics_page import MetricsPage
shared = SharedMetrics(folder)
parts = SupervisorMetrics(CollectorRegistry())
page = MetricsPage("127.0.0.1:0", shared.registry, lambda: True)
print(page.address, flush=True)
for line in sys.stdin:
    shared.process_died(line.strip())
    parts.restarted("front", "died")
    print(line, end="", flush=True)
page.close()
"""


class _Process:
    """A process that answers each line with the same."""

    def __init__(self, program: str, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        assert self.read() == line

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self) -> None:
        self.process.communicate(timeout=WAIT)
        assert self.process.returncode == 0


@pytest.fixture
def processes() -> Iterator[list[_Process]]:
    started: list[_Process] = []
    yield started
    for process in started:
        if process.process.poll() is None:
            process.kill()


def test_several_processes_are_one_page_and_a_killed_one_is_accounted_for(
    tmp_path: Path, processes: list[_Process]
) -> None:
    parent = _Process(PARENT, str(tmp_path))
    processes.append(parent)
    address = parent.read()
    fronts = [_Process(CHILD, str(tmp_path), name) for name in ("front0", "front1")]
    processes += fronts
    fronts[0].ask("start 5")
    fronts[1].ask("start 7")
    fronts[1].ask("end 3")
    page = scrape(address)
    assert not page.imbalance()
    assert page.total("gemwire_calls_in_flight") == 9
    for round_ in (1, 2):
        fronts[1].kill()
        parent.ask("front1")
        page = scrape(address)
        assert not page.imbalance()
        assert page.total("gemwire_calls_in_flight") == 5
        assert page.total("gemwire_calls_ended_total", code="LOST") == 4 * round_
        assert page.total("gemwire_engine_texts_dropped_total", reason="lost") == 8 * round_
        assert page.total("gemwire_restarts_total", part="front", reason="died") == round_
        fronts[1] = _Process(CHILD, str(tmp_path), "front1")
        processes.append(fronts[1])
        fronts[1].ask("start 4")
        assert scrape(address).total("gemwire_calls_in_flight") == 9
    fronts[0].ask("end 5")
    fronts[1].ask("end 4")
    page = scrape(address)
    assert not page.imbalance() and at_rest(page)
    assert page.total("gemwire_calls_started_total") == 5 + 7 + 4 + 4
    assert page.total("gemwire_call_duration_seconds_count") == 12
    files = len(list(tmp_path.iterdir()))
    for process in (*fronts, parent):
        process.end()
    assert files == 3 * 3  # counters, histograms and gauges of each, however often it was replaced
