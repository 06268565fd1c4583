"""Classes of traffic, several of which may share one run."""

import math
from dataclasses import dataclass, fields

from gemwire_bench import lengths
from gemwire_client.requests import TASKS

MODES = ("unary", "batch", "stream")
# A histogram has no bucket for longer times.
LONGEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class TrafficClass:
    """Calls of one kind, which get `share` of the run's rate; `deadline` is in seconds.

    `mode` "stream" sends its calls as messages of one stream a connection, and each text is a sample.
    `tokens` and `texts` are distributions, see `lengths`: tokens of a text without its prompt, and texts
    of a call. With `lines` the texts are whole lines of that file instead.
    """

    name: str = "all"
    mode: str = "unary"
    share: float = 1.0
    arrivals: str = "poisson"
    tokens: str = "64"
    texts: str = "1"
    task: str | None = None
    deadline: float = 10.0
    priority: int = 0
    lines: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode {self.mode!r} is not one of {', '.join(MODES)}")
        if self.mode == "unary" and self.texts != "1":
            raise ValueError(
                f"texts {self.texts}: a unary call has one text; mode=batch takes texts=N"
            )
        if not 0 < self.share < math.inf:
            raise ValueError(f"share {self.share} must be above 0")
        if not 0 < self.deadline <= LONGEST_SECONDS:
            raise ValueError(f"deadline {self.deadline} must be at most {LONGEST_SECONDS:.0f} s")
        if self.task is not None and self.task not in TASKS:
            raise ValueError(f"task {self.task!r} is not one of {', '.join(TASKS)}")
        if not -10 <= self.priority <= 10:
            raise ValueError(f"priority {self.priority} must be from -10 to 10")
        lengths.parse(self.tokens)
        lengths.parse(self.texts)


def parse_class(spec: str, base: TrafficClass) -> TrafficClass:
    """Reads `name key=value …`; keys that are left out are those of `base`. Raises ValueError."""
    name, *pairs = spec.split()
    given: dict[str, object] = {}
    kinds = {"share": float, "deadline": float, "priority": int}
    known = [one.name for one in fields(TrafficClass) if one.name != "name"]
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in known:
            raise ValueError(
                f"class {name}: {pair!r} is not KEY=VALUE with one of {', '.join(known)}"
            )
        try:
            given[key] = kinds.get(key, str)(value)
        except ValueError:
            raise ValueError(f"class {name}: {key} takes a number, not {value!r}") from None
    settings = {key: getattr(base, key) for key in known} | given
    try:
        return TrafficClass(name=name, **settings)
    except ValueError as error:
        raise ValueError(f"class {name}: {error}") from None
