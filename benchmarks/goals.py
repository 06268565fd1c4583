"""The goals of the CPU engine, as ratios within one run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from measure import median_ratio
from peers import OURS, OURS_INT8
from peers.contender import Precision
from peers.products import NAME as PRODUCTS

Rounds = Mapping[str, Sequence[float]]
"""The figures of one workload: by contender, one of each round."""

ORDER: tuple[Precision, ...] = ("int8", "bfloat16", "float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A goal of one workload. `theirs` None is the best baseline of the same or a higher precision."""

    workload: str
    ours: str
    theirs: str | None
    bound: float
    less: bool = False
    """Whether the ratio may be at most the bound (milliseconds), not at least (tokens/s)."""
    no_more_error: bool = False


GOALS = (
    Goal(workload="mixed", ours=OURS, theirs="sentence-transformers/bfloat16", bound=2.0),
    Goal(workload="mixed", ours=OURS, theirs=PRODUCTS, bound=0.8),
    Goal(
        workload="query", ours=OURS, theirs="sentence-transformers/bfloat16", bound=0.40, less=True
    ),
    Goal(workload="query", ours=OURS, theirs="llama.cpp/bfloat16", bound=0.65, less=True),
    Goal(workload="512", ours=OURS, theirs=None, bound=2.0),
    Goal(workload="2048", ours=OURS, theirs=None, bound=1.8),
    Goal(
        workload="mixed", ours=OURS_INT8, theirs="onnxruntime/int8", bound=1.25, no_more_error=True
    ),
    Goal(workload="query", ours=OURS_INT8, theirs="onnxruntime/int8", bound=0.7, less=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result of a goal. `ratio` and `met` are None unless both contenders were run."""

    workload: str
    ours: str
    theirs: str
    bound: str
    ratio: float | None
    met: bool | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    goals: Sequence[Goal],
    rounds: Mapping[str, Rounds],
    precisions: Mapping[str, Precision],
    mean_errors: Mapping[str, float],
) -> list[Verdict]:
    """Judges the goals. `rounds` is by workload; precisions and mean errors are by contender, for
    those that make vectors.
    """
    return [
        _verdict(goal, rounds.get(goal.workload, {}), precisions, mean_errors) for goal in goals
    ]


def _verdict(
    goal: Goal,
    rounds: Rounds,
    precisions: Mapping[str, Precision],
    mean_errors: Mapping[str, float],
) -> Verdict:
    theirs = goal.theirs or best_baseline(goal, rounds, precisions)
    bound = f"{'<=' if goal.less else '>='} {goal.bound:g}"
    ratio = met = None
    if theirs is not None and goal.ours in rounds and theirs in rounds:
        ratio = median_ratio(rounds[goal.ours], rounds[theirs])
        met = ratio <= goal.bound if goal.less else ratio >= goal.bound
        if goal.no_more_error:
            bound += ", no more error"
            met = met and mean_errors[goal.ours] <= mean_errors[theirs]
    return Verdict(
        workload=goal.workload,
        ours=goal.ours,
        theirs=theirs or "the best baseline",
        bound=bound,
        ratio=ratio,
        met=met,
    )


def best_baseline(goal: Goal, rounds: Rounds, precisions: Mapping[str, Precision]) -> str | None:
    """Returns the baseline against which this engine's median ratio is the worst."""
    if goal.ours not in rounds:
        return None
    least = ORDER.index(precisions[goal.ours])
    rivals = [
        name
        for name in rounds
        if name in precisions
        and not name.startswith("gemwire/")
        and ORDER.index(precisions[name]) >= least
    ]
    worst = max if goal.less else min
    return worst(
        rivals, key=lambda name: median_ratio(rounds[goal.ours], rounds[name]), default=None
    )
