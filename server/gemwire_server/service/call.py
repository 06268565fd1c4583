"""A call under way: what every method is told of it."""

import time
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemwire_server.observe.tracing import CallTrace

from gemwire_server.security.tokens import Grant

UNARY_FLOW = 0
"""All unary calls of a caller take turns as one."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as shares go: a token's name, or without tokens a connection.

    `key` names the caller to the scheduler, the same in every process.
    """

    name: str
    key: int

    @classmethod
    def named(cls, name: str) -> "Caller":
        return cls(name, int.from_bytes(blake2b(name.encode(), digest_size=8).digest()))


@dataclass(slots=True, eq=False)
class Call:
    """`method` is its full name; times are of `time.monotonic`; `deadline` None is none; `grant` None
    is a server without tokens.

    `texts` and `tokens` are what was answered so far; `trace` is None unless it is traced.
    """

    method: str
    caller: Caller
    request_id: str = ""
    deadline: float | None = None
    arrived: float = field(default_factory=time.monotonic)
    grant: Grant | None = None
    texts: int = 0
    tokens: int = 0
    trace: "CallTrace | None" = None

    @property
    def is_late(self) -> bool:
        """Whether a call that is cancelled now is so by its deadline: gRPC does not say, the client's clock
        goes first, and a timeout travels rounded up by as much as 1%."""
        if self.deadline is None:
            return False
        return time.monotonic() >= self.deadline - 0.02 * (self.deadline - self.arrived) - 0.02


def deadline_of(time_remaining: float | None) -> float | None:
    """A call's time left as a deadline on the engine's clock."""
    return None if time_remaining is None else time.monotonic() + time_remaining
