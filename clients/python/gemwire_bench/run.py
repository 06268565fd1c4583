"""Runs steps: starts worker processes that send, and collects the samples they ship."""

import math
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait

from gemwire_bench import schedule, worker
from gemwire_bench.golden import Compared
from gemwire_bench.mix import TrafficClass
from gemwire_bench.records import Records
from gemwire_bench.samples import rows
from gemwire_bench.schedule import Schedule
from gemwire_bench.verdict import accusations, instabilities
from gemwire_bench.worker import Ended, Job

START_SECONDS = 60.0
POLL_SECONDS = 0.2
# The wait for the workers after the last call's deadline.
LATE_SECONDS = 60.0
# The callers of a closed loop repeat a schedule of this many calls.
CLOSED_CALLS = 4096


@dataclass(frozen=True, slots=True)
class Plan:
    """A step to run. `rate` is in calls a second; with `callers` the loop is closed and has no rate."""

    classes: tuple[TrafficClass, ...]
    rate: float
    seconds: float
    warm_up: float
    seed: int
    callers: int = 0

    def schedule(self) -> Schedule:
        seconds = self.warm_up + self.seconds
        if self.callers:
            return schedule.make(self.classes, rate=CLOSED_CALLS, seconds=1.0, seed=self.seed)
        return schedule.make(self.classes, rate=self.rate, seconds=seconds, seed=self.seed)


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of a plan. `cpu` is the share of a core that each worker used."""

    plan: Plan
    digest: str
    calls: int
    records: Records
    cpu: tuple[float, ...]
    golden: Compared | None = None

    @property
    def accusations(self) -> list[str]:
        found = accusations(self.records, self.cpu, closed=self.plan.callers > 0)
        return found + (self.golden.accusations() if self.golden else [])

    @property
    def instabilities(self) -> list[str]:
        return instabilities(self.records)

    def per_second(self, what: str, code: str | None = None) -> float:
        return self.records.count(what, code=code) / self.plan.seconds


Watch = Callable[[Plan, Records, float], None]
"""Called about once a second with the plan, the records so far and the seconds since the start."""


class WorkerFailed(ChildProcessError):
    """A process that sends has ended early."""


class Workers:
    """Worker processes, which live from step to step."""

    def __init__(self, pipes: Sequence[Connection], news: bytes) -> None:
        """`news` is what the first worker sent before it was ready."""
        self._pipes = pipes
        self.news = news

    def run(
        self,
        plan: Plan,
        *,
        watch: Watch = lambda plan, records, seconds: None,
    ) -> Step:
        """Runs a step; returns when all its calls have ended. Raises WorkerFailed."""
        whole = plan.schedule()
        start = time.monotonic_ns() + round(worker.HEAD_START_SECONDS * 1e9)
        count = len(self._pipes)
        seconds = plan.warm_up + plan.seconds
        for number, pipe in enumerate(self._pipes):
            callers = len(range(number, plan.callers, count))
            if plan.callers and not callers:
                continue
            part = whole.part(number, count)
            pipe.send(Job(part, plan.classes, start, seconds, callers))
        active = self._pipes[: plan.callers] if plan.callers else self._pipes
        records = Records(tuple(one.name for one in plan.classes), plan.warm_up)
        longest = max(one.deadline for one in plan.classes)
        give_up = time.monotonic() + seconds + longest + LATE_SECONDS
        cpu = self._gather(plan, list(active), records, start, give_up, watch)
        return Step(plan, whole.digest(), len(whole), records, tuple(cpu))

    def _gather(
        self,
        plan: Plan,
        pending: list[Connection],
        records: Records,
        start: int,
        give_up: float,
        watch: Watch,
    ) -> Iterator[float]:
        watched = 0.0
        while pending:
            for pipe in wait(pending, POLL_SECONDS):
                assert isinstance(pipe, Connection)
                try:
                    news = pipe.recv()
                except EOFError:
                    raise WorkerFailed("a worker has ended; what it said is above") from None
                if isinstance(news, Ended):
                    pending.remove(pipe)
                    yield news.cpu
                else:
                    records.add(rows(news))
            now = (time.monotonic_ns() - start) / 1e9
            if now - watched >= 1.0:
                watched = now
                watch(plan, records, now)
            if time.monotonic() > give_up:
                raise WorkerFailed("a worker does not end")


@contextmanager
def workers(count: int, target: Callable[..., None], *args: object) -> Iterator[Workers]:
    """Starts `count` processes of `target(pipe, *args)`; yields when all are ready, ends them at exit."""
    context = multiprocessing.get_context("spawn")  # gRPC must not be forked
    pipes, processes = [], []
    try:
        for number in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=partial(target, theirs, *args), name=f"gemwire-bench-{number}", daemon=True
            )
            with _deaf_to_ctrl_c():
                process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        said = [_ready(pipe) for pipe in pipes]
        yield Workers(pipes, said[0])
        for pipe in pipes:
            pipe.send(None)
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(5.0)
            if process.is_alive():
                process.terminate()
                process.join()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started in the block ignore Ctrl-C, which a terminal sends to them too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _ready(pipe: Connection) -> bytes:
    """Waits until a worker is ready; returns the bytes it sent before."""
    said = b""
    while True:
        if not pipe.poll(START_SECONDS):
            raise WorkerFailed("a worker does not start")
        try:
            news = pipe.recv()
        except EOFError:
            raise WorkerFailed("a worker did not start; what it said is above") from None
        if not isinstance(news, bytes):
            return said
        said = news


def rounded(rate: float) -> float:
    """A rate to three digits."""
    return float(f"{rate:.3g}") if math.isfinite(rate) else rate
