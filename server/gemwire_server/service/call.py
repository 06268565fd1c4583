"""A call under way: its caller, its method and its deadline."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemwire_server.observe.tracing import CallTrace

from gemwire_server.errors import Expired
from gemwire_server.security.tokens import Grant

MAX_REQUEST_ID = 128
UNARY_FLOW = 0
"""The flow of all unary calls: a caller's unary calls take turns as one."""


@dataclass(frozen=True, slots=True)
class ApiMethod:
    """A method that a front serves.

    `api` is the API that the caller chose, such as gemwire.v1, and `name` the method's name in it, such
    as Embed: both label metrics. `full_name` names the method in traces and logs. `system` is the
    protocol that carries its calls, as traces name it.
    """

    api: str
    name: str
    full_name: str
    system: str = "grpc"


@dataclass(frozen=True, slots=True)
class Caller:
    """The party whose share a call counts against: a token's name, or without tokens a connection.

    `key` names the caller to the scheduler. It is the same in every process.
    """

    name: str
    key: int

    @classmethod
    def named(cls, name: str) -> "Caller":
        return cls(name, int.from_bytes(blake2b(name.encode(), digest_size=8).digest()))


@dataclass(slots=True, eq=False)
class Call:
    """Times are on the scale of `time.monotonic`. `deadline` is None where the caller set none, and
    `grant` is None where the server asks for no tokens.

    `texts` and `tokens` count what was answered so far; `trace` is None unless the call is traced. A method
    may set `headers`, lowercase names with their values: the front sends them before the answer.
    """

    method: ApiMethod
    caller: Caller
    request_id: str = ""
    deadline: float | None = None
    arrived: float = field(default_factory=time.monotonic)
    grant: Grant | None = None
    texts: int = 0
    tokens: int = 0
    trace: "CallTrace | None" = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def is_late(self) -> bool:
        """Whether the deadline explains a cancellation now.

        gRPC does not say why it cancels. The client's clock may be ahead, and a timeout travels rounded
        up by as much as 1%.
        """
        if self.deadline is None:
            return False
        return time.monotonic() >= self.deadline - 0.02 * (self.deadline - self.arrived) - 0.02


def request_id_of(asked: object) -> str:
    """The id that a client asks for if it is printable ASCII and not long, else a new one."""
    if not isinstance(asked, str) or not 0 < len(asked) <= MAX_REQUEST_ID:
        return uuid.uuid4().hex
    return asked if asked.isascii() and asked.isprintable() else uuid.uuid4().hex


def deadline_of(time_remaining: float | None) -> float | None:
    """Seconds that remain, or None, as a deadline on the scale of `time.monotonic`."""
    return None if time_remaining is None else time.monotonic() + time_remaining


@asynccontextmanager
async def default_deadline(call: Call, seconds: float) -> AsyncIterator[None]:
    """Ends a call that set no deadline after so many seconds, with Expired; 0 is never.

    A deadline of the caller's needs no timer here: the transport cancels the call.
    """
    if call.deadline is not None or not seconds:
        yield
        return
    call.deadline = call.arrived + seconds
    message = (
        f"the call set no deadline, and this server's is {seconds:g} s: set one, or ask for less "
        "at once"
    )
    async with expired_at(call.deadline, message):
        yield


@asynccontextmanager
async def expired_at(deadline: float, message: str) -> AsyncIterator[None]:
    """Ends the block at the deadline, on the scale of `time.monotonic`, with Expired of this message."""
    limit = asyncio.timeout(deadline - time.monotonic())
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise Expired("DEADLINE_EXCEEDED", message) from None
