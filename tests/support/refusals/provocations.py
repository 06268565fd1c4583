"""The provocations: for each row of docs/refusals.md, calls that are refused as the row says."""

from collections.abc import Callable
from dataclasses import dataclass

from support.refusals.observed import Refusal
from support.refusals.servers import Servers
from support.refusals.table import ONE_TEXT, WHOLE_CALL

Provoke = Callable[[Servers, str], Refusal]
BOTH = ("thread", "process")
"""Where an engine may be: in the server's process, or in one of its own."""


@dataclass(frozen=True)
class Provocation:
    """`key` names a row, see `Row.key`. `engine` is where the server's engine is."""

    key: tuple[str, str, str]
    engine: str
    provoke: Provoke

    @property
    def name(self) -> str:
        return f"{self.provoke.__name__}-{self.engine}"


@dataclass(frozen=True)
class Contest:
    """A call that two rows refuse. The winner has to stand above the other, unless not `in_order`."""

    winner: tuple[str, str, str]
    loser: tuple[str, str, str]
    provoke: Provoke
    in_order: bool

    @property
    def name(self) -> str:
        return self.provoke.__name__


PROVOCATIONS: list[Provocation] = []
CONTESTS: list[Contest] = []


def whole_call(
    where: str, name: str, engines: tuple[str, ...] = ("thread",)
) -> Callable[[Provoke], Provoke]:
    """Registers a provocation of a row of the first table; `name` is its reason, else its code."""
    return _register((WHOLE_CALL, where, name), engines)


def one_text(
    where: str, name: str, engines: tuple[str, ...] = ("thread",)
) -> Callable[[Provoke], Provoke]:
    """Registers a provocation of a row of the second table."""
    return _register((ONE_TEXT, where, name), engines)


def _register(key: tuple[str, str, str], engines: tuple[str, ...]) -> Callable[[Provoke], Provoke]:
    def registered(provoke: Provoke) -> Provoke:
        PROVOCATIONS.extend(Provocation(key, engine, provoke) for engine in engines)
        return provoke

    return registered


def first(
    winner: tuple[str, str], loser: tuple[str, str], *, in_order: bool = True
) -> Callable[[Provoke], Provoke]:
    """Registers a contest of two rows of the first table."""

    def registered(provoke: Provoke) -> Provoke:
        rows = (WHOLE_CALL, *winner), (WHOLE_CALL, *loser)
        CONTESTS.append(Contest(*rows, provoke, in_order))
        return provoke

    return registered
