"""Judges a step: what the client did wrong, and whether the server holds the rate."""

from collections.abc import Sequence

import numpy as np

from gemwire_bench.records import Records
from gemwire_bench.samples import WRONG

MOST_LAG_MICROS = 5_000.0
MOST_LAG_SHARE = 0.05
MOST_CPU = 0.80
# In a stable step this share of the samples is answered, and neither the server's queue nor the latency is
# longer in the last third than in the first: by no more than a factor and a floor, and by no more than
# seconds differ anyway. With a dozen calls one long text would otherwise be growth.
LEAST_COMPLETED = 0.99
MOST_GROWTH = 1.5
GROWTH_FLOOR_MILLIS = 20.0
STANDARD_ERRORS = 2.0


def accusations(records: Records, cpu: Sequence[float], *, closed: bool) -> list[str]:
    """What the client did wrong; empty if the run is valid. `cpu` is each worker's share of a core."""
    found = []
    busiest = max(cpu, default=0.0)
    if busiest > MOST_CPU:
        found.append(
            f"a worker used {busiest:.0%} of a core, over {MOST_CPU:.0%}: give it --workers"
        )
    lag = records.histogram("lag", code=None)
    if not lag.get_total_count():
        found.append("nothing was measured: warm-up leaves no calls")
    elif not closed:
        late = lag.get_value_at_percentile(99)
        latency = records.histogram("latency")
        half = latency.get_value_at_percentile(50) if latency.get_total_count() else float("inf")
        if late > MOST_LAG_MICROS:
            found.append(
                f"p99 of the send lag is {late / 1e3:.1f} ms, over {MOST_LAG_MICROS / 1e3:g} ms"
            )
        elif late > MOST_LAG_SHARE * half:
            found.append(
                f"p99 of the send lag is {late / 1e3:.2f} ms, over {MOST_LAG_SHARE:.0%} of the median "
                f"latency, {half / 1e3:.2f} ms"
            )
    if wrong := records.count("samples", code=WRONG):
        found.append(f"{wrong} answers were no vectors")
    return found


def instabilities(records: Records) -> list[str]:
    """Why the server cannot hold this rate; empty if it can."""
    found = []
    asked, answered = records.count("samples"), records.count("samples", code="OK")
    if answered < LEAST_COMPLETED * asked:
        found.append(f"{answered / max(asked, 1):.1%} answered, under {LEAST_COMPLETED:.0%}")
    for phase in ("queue", "latency"):
        means = [
            float(histogram.get_mean_value()) / 1e3
            for _, histogram in records.by_second(phase)
            if histogram.get_total_count()
        ]
        third = -(-len(means) // 3)
        if third < 2:
            continue
        first, last = (_mean_and_error(part) for part in (means[:third], means[-third:]))
        noise = STANDARD_ERRORS * float(np.hypot(first[1], last[1]))
        if last[0] > MOST_GROWTH * first[0] + max(GROWTH_FLOOR_MILLIS, noise):
            found.append(f"the {phase} grew from {first[0]:.1f} to {last[0]:.1f} ms")
    return found


def _mean_and_error(seconds: Sequence[float]) -> tuple[float, float]:
    """The mean of seconds' means, and its standard error."""
    return float(np.mean(seconds)), float(np.std(seconds, ddof=1) / np.sqrt(len(seconds)))
