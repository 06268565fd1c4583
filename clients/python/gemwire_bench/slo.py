"""Latency goals: "p99=50ms", or "interactive:p99=50ms" for one class.

A goal is met if that share of all samples was answered OK within the limit. A refusal is not a fast
response, so a server does not meet a goal by shedding load.
"""

import math
import re
from dataclasses import dataclass

from gemwire_bench.records import Records, within

SPEC = re.compile(
    r"(?:(?P<traffic>[^:=]+):)?p(?P<rank>\d+(?:\.\d+)?)=(?P<limit>\d+(?:\.\d+)?)(?P<unit>us|ms|s)"
)
MICROS = {"us": 1.0, "ms": 1e3, "s": 1e6}


@dataclass(frozen=True, slots=True)
class Slo:
    """`rank` percent of a class's samples, or of all, are answered OK within `micros` microseconds."""

    rank: float
    micros: float
    traffic: str | None = None

    def __str__(self) -> str:
        return (
            f"{self.traffic + ':' if self.traffic else ''}p{self.rank:g}={self.micros / 1000:g}ms"
        )

    def samples_within(self, records: Records) -> int:
        return within(records.histogram("latency", traffic=self.traffic), self.micros)

    def share(self, records: Records) -> float:
        """The share of the samples that were answered OK within the limit; nan without samples."""
        asked = records.count("samples", traffic=self.traffic)
        return self.samples_within(records) / asked if asked else math.nan

    def met(self, records: Records) -> bool:
        return self.share(records) >= self.rank / 100


def parse(spec: str) -> Slo:
    """Reads a goal. Raises ValueError."""
    found = SPEC.fullmatch(spec)
    if found is None or not 0 < float(found["rank"]) < 100:
        raise ValueError(f"{spec!r} is no SLO: must be like p99=50ms or interactive:p99=50ms")
    micros = float(found["limit"]) * MICROS[found["unit"]]
    return Slo(float(found["rank"]), micros, found["traffic"])
