"""Samples of calls, as rows that a worker ships to the run once a second."""

from array import array

import grpc
import numpy as np
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb

# Codes besides gRPC's: no response before the client gave up, and a response that is no vector.
UNANSWERED, WRONG = "UNANSWERED", "WRONG"
CODES = [*(code.name for code in grpc.StatusCode), UNANSWERED, WRONG]
CODE_NUMBERS = {name: number for number, name in enumerate(CODES)}
NONE = -1
"""Stands for a time that the server did not report."""

# Times in nanoseconds, the first four from the run's start: when the call was due, when the client turned
# to it, when it could be sent (a stream may lack credit), when it ended.
ROW = np.dtype(
    [
        (name, "<i8")
        for name in (
            "kind", "code", "due", "begun", "sent", "ended", "queue", "compute", "server", "texts",
            "good", "tokens",
        )
    ]
)  # fmt: skip
Rows = NDArray[np.void]


class Samples:
    """Collects rows. It is cheap, for it runs between the calls that it measures."""

    def __init__(self) -> None:
        self._numbers = array("q")

    def add(
        self,
        *,
        kind: int,
        code: str,
        due: int,
        begun: int,
        sent: int,
        ended: int,
        queue: int = NONE,
        compute: int = NONE,
        server: int = NONE,
        texts: int = 1,
        good: int = 0,
        tokens: int = 0,
    ) -> None:
        """One sample: a call of `texts`, of which `good` got vectors, or a text of a stream."""
        number = CODE_NUMBERS[code]
        self._numbers.extend(
            (kind, number, due, begun, sent, ended, queue, compute, server, texts, good, tokens)
        )

    def take(self) -> bytes:
        """The rows since the last call of `take`, as bytes for `rows`."""
        taken, self._numbers = self._numbers, array("q")
        return taken.tobytes()


def rows(taken: bytes) -> Rows:
    return np.frombuffer(taken, ROW)


def server_times(timing: pb.Timing | None) -> dict[str, int]:
    """The server's timing as arguments of `Samples.add`."""
    if timing is None:
        return {}
    return {
        "queue": timing.queue.ToNanoseconds(),
        "compute": timing.compute.ToNanoseconds(),
        "server": timing.total.ToNanoseconds(),
    }
