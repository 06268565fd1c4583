"""The rows of soak.py: the scenario of each, its size and its limits."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from faults.marked import Fault
from faults.processes import Usage
from faults.scenarios import cancels, connections, crashes, deadlines, fairness, overload, soak
from faults.scenarios.drain import drain
from faults.scenarios.overhead import bare, overhead
from faults.scenarios.poison import BATCH, poison
from faults.under_test import UnderTest, under_test

MS = 1000.0


@dataclass(frozen=True, slots=True)
class Setting:
    """Makes the rows. `scale` shortens the long ones."""

    checkpoint: Path
    engine: str
    scale: float

    def server(self, *flags: str, **settings: float) -> AbstractContextManager[UnderTest]:
        return under_test(self.checkpoint, *flags, engine=self.engine, settings=settings)

    def seconds(self, full: float) -> float:
        return max(2.0, full * self.scale)

    def count(self, full: int) -> int:
        return max(10, round(full * self.scale))


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise. `measured` meets the limit if it is at most, or with `least` at least, the
    limit; without a limit it is only reported.
    """

    what: str
    measured: float
    unit: str = ""
    limit: float | None = None
    least: bool = False
    also: Mapping[str, object] = field(default_factory=dict)

    @property
    def bar(self) -> str:
        if self.limit is None:
            return ""
        return f"{'>=' if self.least else '<='} {self.limit:g} {self.unit}".rstrip()

    @property
    def shown(self) -> str:
        return f"{self.measured:.4g} {self.unit}".rstrip()

    @property
    def verdict(self) -> str:
        if self.limit is None:
            return ""
        met = self.measured >= self.limit if self.least else self.measured <= self.limit
        return "met" if met else "MISSED"

    def record(self) -> dict[str, object]:
        """Returns the row of the report."""
        limit = {"at_least" if self.least else "at_most": self.limit, "verdict": self.verdict}
        fields = {"what": self.what.strip(), "measured": self.measured, "unit": self.unit}
        return fields | (limit if self.limit is not None else {}) | dict(self.also)


def drained(setting: Setting) -> Iterator[Bar]:
    """25,000 tokens/s; calls ask for 30% of it, streams for 50%."""
    with setting.server(token_seconds=40e-6) as server:
        found = asyncio.run(
            drain(server, rate=115, burst=230, streams=8, seconds=setting.seconds(10), pause=0.04)
        )
    codes = {"unary": found.unary.codes(), "streams": found.streams.codes()}
    yield Bar("calls in flight at SIGTERM", found.in_flight, "calls")
    yield Bar("accepted texts lost", len(found.lost), "texts", 0, also=codes)
    yield Bar("NOT_SERVING after SIGTERM", found.not_serving_after * MS, "ms", 100)
    yield Bar("exit after SIGTERM (the grace)", found.exit_after, "s", 30)
    yield Bar("exit code", found.exit_code, "", 0)


def expired(setting: Setting) -> Iterator[Bar]:
    with setting.server() as server:
        found = asyncio.run(deadlines.expire(server, calls=1000, stall=2.0))
    codes: dict[str, object] = {"codes": found.outcomes.codes()}
    yield Bar("computed after their deadline", found.computed_late, "texts", 0, also=codes)
    yield Bar("handlers that ended more than 10 ms after it", found.ended_late, "calls", 0)


def cancelled(setting: Setting) -> Iterator[Bar]:
    calls = 1000
    with setting.server() as server:
        found = asyncio.run(cancels.cancel(server, calls=calls))
    yield Bar("queue empty after the cancellations", found.empty_after * MS, "ms", 50)
    yield Bar("cancelled and never computed", 1 - found.computed / calls, "", 0.99, least=True)


def overloaded(setting: Setting) -> Iterator[Bar]:
    """10,000 tokens/s, texts of 64 tokens, deadlines of 1 s."""
    with setting.server(token_seconds=100e-6) as server:
        peak = asyncio.run(overload.peak(server, seconds=setting.seconds(10)))
        yield Bar("peak", peak, "texts/s")
        for factor, share in ((2, 0.90), (5, 0.75)):
            found = asyncio.run(
                overload.overload(server, rate=peak, factor=factor, seconds=setting.seconds(60))
            )
            refused, delayed = found.refused, found.refused.where(lambda one: bool(one.retry_after))
            codes: dict[str, object] = {
                "codes": found.over.codes(),
                "send_lag_p99": found.send_lag_p99,
            }
            at = f"{factor}x:"
            yield Bar(f"{at} goodput, of peak", found.goodput / peak, "", share, True, codes)
            # The load's own lateness is not the server's; it is reported beside it.
            waits = [(one.ended - one.sent) * MS for one in refused.all]
            yield Bar(f"{at} refusals p99, from their sending", percentile_99(waits), "ms", 20)
            yield Bar(f"{at} of the load, sent late by, p99", found.send_lag_p99 * MS, "ms")
            yield Bar(f"{at} refusals without RetryInfo", len(refused) - len(delayed), "calls", 0)
            yield Bar(f"{at} accepted, p99", found.over.of("OK").percentile(99) * MS, "ms")
            yield Bar(f"{at} back to the p99 before", found.recovered_after, "s", 2)


def percentile_99(values: Sequence[float]) -> float:
    return float(np.percentile(values, 99)) if values else 0.0


def fair(setting: Setting) -> Iterator[Bar]:
    """50,000 tokens/s in steps of 10 ms."""
    with setting.server(token_seconds=20e-6) as server:
        found = asyncio.run(
            fairness.beside_a_stream(
                server, texts=setting.count(100_000), alone_seconds=setting.seconds(20)
            )
        )
    alone, beside = found.alone.percentile(99) * MS, found.beside.percentile(99) * MS
    limit = max(2 * alone, alone + found.step_seconds * MS)
    yield Bar("the stream", found.bulk_rate, "texts/s", also={"codes": found.bulk.codes()})
    yield Bar("callers alone, p99", alone, "ms")
    yield Bar("callers beside the stream, p99", beside, "ms", limit)
    with setting.server(token_seconds=20e-6) as server:
        index = asyncio.run(fairness.equal_streams(server, seconds=setting.seconds(20)))
    yield Bar("8 equal streams, Jain's index", index, "", 0.95, least=True)


def poisoned(setting: Setting) -> Iterator[Bar]:
    """One text of 64 in a step, in several places."""
    faults = [Fault.RAISE, Fault.NAN]
    if setting.engine == "process":
        faults += [Fault.ABORT, Fault.EXIT]
    for fault in faults:
        with setting.server("--max-batch-tokens", "512", step_seconds=0.002) as server:
            found = [asyncio.run(poison(server, fault, place=place)) for place in (0, 37, 63)]
        right = sum(one.answers == {"OK": BATCH - 1, "POISON_INPUT": 1} for one in found)
        answers: dict[str, object] = {"answers": [one.answers for one in found]}
        what = f"{fault.name}: 63 OK and 1 POISON_INPUT"
        yield Bar(what, right, "of 3", 3, True, answers)
        if fault is Fault.RAISE:
            yield Bar("steps beyond the first", max(one.steps for one in found) - 1, "steps", 7)


def crashed(setting: Setting) -> Iterator[Bar]:
    """SIGKILL and SIGSTOP of the engine's process, under 16 callers."""
    if setting.engine != "process":
        return
    watchdog = 2.0
    for number, times, late in (
        (signal.SIGKILL, setting.count(100), 0.0),
        (signal.SIGSTOP, 3, watchdog),  # the supervisor has to notice first
    ):
        with setting.server("--watchdog-seconds", str(watchdog), step_seconds=0.005) as server:
            found = asyncio.run(crashes.crash_engine(server, number, times=times))
        yield from _crash_bars(f"{number.name} x {times}:", found, late)
    with setting.server("--fronts", "2", step_seconds=0.005) as server:
        found, unharmed = asyncio.run(crashes.kill_front(server))
    yield Bar("SIGKILL of 1 of 2 fronts: calls hung", found.hung, "calls", 0)
    codes: dict[str, object] = {"codes": found.outcomes.codes()}
    yield Bar("  callers of 16 that saw nothing", unharmed, "callers", also=codes)
    yield from _usage_bars(found.before, found.after)


def _crash_bars(what: str, found: crashes.Crashed, late: float) -> Iterator[Bar]:
    codes: dict[str, object] = {"codes": found.outcomes.codes()}
    others = found.outcomes.where(lambda one: one.code not in ("OK", "UNAVAILABLE"))
    yield Bar(f"{what} calls hung", found.hung, "calls", 0, also=codes)
    yield Bar("  other codes than OK and UNAVAILABLE", len(others), "calls", 0)
    yield Bar("  the last call in flight answered after, worst", max(found.answered), "s", 1 + late)
    yield Bar("  health NOT_SERVING after, worst", max(found.noticed), "s", 0.5 + late)
    yield Bar("  serving again after, median", float(np.median(found.recovered)), "s")
    yield Bar("  serving again after, worst", max(found.recovered), "s")
    yield from _usage_bars(found.before, found.after)


def _usage_bars(before: Usage | None, after: Usage | None) -> Iterator[Bar]:
    if before is not None and after is not None:
        yield Bar("  zombies", after.zombies, "", 0)
        yield Bar("  fds more than before", after.fds - before.fds, "", 4)
        yield Bar(
            "  shared memory more than before", after.shared_memory - before.shared_memory, "", 0
        )
        yield Bar("  RSS more than before", (after.rss - before.rss) / 1e6, "MB")


def cheap(setting: Setting) -> Iterator[Bar]:
    """Steps of 1 ms."""
    with setting.server(step_seconds=0.001) as server:
        found = asyncio.run(overhead(server, calls=3000)) * MS
    floor = asyncio.run(bare(calls=3000)) * MS
    for percent, limit in ((50, 0.8), (99, 2.0)):
        measured = float(np.percentile(found, percent))
        yield Bar(f"a call besides its step, p{percent}", measured, "ms", limit)
        least = float(np.percentile(floor, percent))
        yield Bar(f"  of a grpc.aio server that does nothing, p{percent}", least, "ms")


def connected(setting: Setting) -> Iterator[Bar]:
    with setting.server() as server:
        lost = asyncio.run(connections.idle_pings(server, seconds=setting.seconds(120), every=10))
    yield Bar("connections lost that ping every 10 s", lost, "", 0)
    with setting.server(*connections.AGING_FLAGS) as server:
        found = asyncio.run(connections.aging(server, seconds=setting.seconds(60)))
    failed = len(found) - len(found.of("OK"))
    yield Bar(
        "calls failed, max_connection_age 2 s", failed, "calls", 0, also={"calls": len(found)}
    )


def soaked(setting: Setting) -> Iterator[Bar]:
    with setting.server(step_seconds=0.001) as server:
        found = asyncio.run(soak.soak(server, calls=setting.count(100_000)))
        zombies = server.usage().zombies
    mb = 1e5 / 1e6
    codes: dict[str, object] = {
        "codes": found.outcomes,
        "rss": [(calls, usage.rss) for calls, usage in found.samples],
    }
    beyond = (found.slope() - found.known_slope()) * mb
    yield Bar("RSS slope a 10^5 calls", found.slope() * mb, "MB", also=codes)
    yield Bar("  of that the library's leak", found.known_slope() * mb, "MB")
    yield Bar("  beyond it", beyond, "MB", 1)
    earlier, later = found.fds()
    yield Bar("fds more than before", later - earlier, "", 4)
    yield Bar("zombies", zombies, "", 0)


ROWS: dict[str, Callable[[Setting], Iterator[Bar]]] = {
    "drain": drained,
    "deadline": expired,
    "cancel": cancelled,
    "overload": overloaded,
    "fair": fair,
    "poison": poisoned,
    "crash": crashed,
    "overhead": cheap,
    "connection": connected,
    "soak": soaked,
}
