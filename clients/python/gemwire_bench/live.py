"""A live table on standard error for a person at a terminal; a pipe gets no table."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gemwire_bench.records import Records, percentile
from gemwire_bench.run import Plan, Step, Watch

COLUMNS = ("rate /s", "class", "ok /s", "tokens /s", "p50 ms", "p90 ms", "p99 ms", "not ok", "")


@contextmanager
def live() -> Iterator[tuple[Watch, Any]]:
    """Yields two callbacks: for the progress of a step, and for its end."""
    if not sys.stderr.isatty():
        yield (lambda plan, records, seconds: None), (lambda step: None)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    ended: list[tuple[str, ...]] = []

    def table(current: list[tuple[str, ...]]) -> Table:
        shown = Table(*COLUMNS, box=None, header_style="dim")
        for line in [*ended, *current]:
            shown.add_row(*line)
        return shown

    with Live(table([]), console=Console(stderr=True), auto_refresh=False) as screen:

        def watch(plan: Plan, records: Records, seconds: float) -> None:
            measured = max(min(seconds - plan.warm_up, plan.seconds), 1e-9)
            left = plan.warm_up + plan.seconds - seconds
            state = "warming up" if seconds < plan.warm_up else f"{max(left, 0):.0f} s left"
            screen.update(table(lines(plan, records, measured, state)), refresh=True)

        def on_step(step: Step) -> None:
            said = [*step.accusations, *step.instabilities]
            ended.extend(lines(step.plan, step.records, step.plan.seconds, "; ".join(said)))
            screen.update(table([]), refresh=True)

        yield watch, on_step


def lines(plan: Plan, records: Records, seconds: float, state: str) -> list[tuple[str, ...]]:
    """A line for each class; only the first one shows the rate and the state."""
    rate = f"{plan.callers} callers" if plan.callers else f"{plan.rate:g}"
    found = []
    for number, name in enumerate(records.classes):
        latency = records.histogram("latency", traffic=name)
        asked = records.count("samples", traffic=name)
        answered = records.count("samples", traffic=name, code="OK")
        found.append(
            (
                rate if number == 0 else "",
                name,
                f"{answered / seconds:,.1f}",
                f"{records.count('tokens', traffic=name) / seconds:,.0f}",
                *(_millis(percentile(latency, rank)) for rank in (50, 90, 99)),
                f"{asked - answered:,}",
                state if number == 0 else "",
            )
        )
    return found


def _millis(micros: float | None) -> str:
    return "-" if not micros else f"{micros / 1e3:,.2f}"
