"""Counts what this process embeds through the protocol."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gemwire_compat import open_inference_pb2 as pb


@dataclass(slots=True)
class Statistics:
    """Requests from their arrival to their answer. Of a request whose client goes away nothing counts."""

    texts: int = 0
    last: float = 0.0
    success: pb.StatisticDuration = field(default_factory=pb.StatisticDuration)
    fail: pb.StatisticDuration = field(default_factory=pb.StatisticDuration)

    @contextmanager
    def request(self, arrived: float) -> Iterator[None]:
        """A request that arrived then, on the scale of `time.monotonic`, until the block ends."""
        try:
            yield
        except Exception:
            _add(self.fail, arrived)
            raise
        _add(self.success, arrived)
        self.last = time.time()

    def message(self, model: str, version: str) -> pb.ModelStatistics:
        return pb.ModelStatistics(
            name=model,
            version=version,
            last_inference=int(self.last * 1000),
            inference_count=self.texts,
            inference_stats=pb.InferStatistics(success=self.success, fail=self.fail),
        )


def _add(to: pb.StatisticDuration, arrived: float) -> None:
    to.count += 1
    to.ns += round((time.monotonic() - arrived) * 1e9)
