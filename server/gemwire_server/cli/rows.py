"""Rows of texts, and the protocols that read and write them one at a time.

A source yields rows, a sink takes each with its vector. Neither holds more than a few of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

EMBEDDING = "embedding"

Vector = NDArray[np.float32]


class TableError(ValueError):
    """A table cannot be read or written; the message names the row, never its content."""


@dataclass(frozen=True, slots=True)
class Row:
    """One text and where it comes from.

    `where` names it to a person. `problem`, if not empty, says why `text` cannot be embedded.
    `position` is how far into the source it reaches, in the unit of Source.size.
    """

    where: str
    text: str
    title: str
    columns: Mapping[str, Any]
    position: int
    problem: str = ""


class Source(Protocol):
    """Rows in order.

    `size` is what the last row's position will be, if known; `schema` is the Arrow schema of the
    columns, if they have one.
    """

    size: int | None
    schema: Any

    def __iter__(self) -> Iterator[Row]: ...


class Sink(Protocol):
    """Takes rows in order; `vector` is None for a text that has none."""

    def write(self, row: Row, vector: Vector | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of text and title; `title` is None where texts have no titles."""

    text: str
    title: str | None

    def row(self, where: str, columns: Mapping[str, Any], position: int) -> Row:
        if self.text not in columns:
            raise TableError(f"{where}: no column {self.text!r}; there are {listed(columns)}")
        self.check_free(where, columns)
        text = columns[self.text]
        title = columns.get(self.title) if self.title is not None else None
        problem = _problem(self.text, text, required=True)
        problem = problem or _problem(str(self.title), title, required=False)
        if problem:
            return Row(where, "", "", columns, position, problem)
        return Row(where, text, title or "", columns, position)

    @staticmethod
    def check_free(where: str, columns: Mapping[str, Any] | list[str]) -> None:
        if EMBEDDING in columns:
            raise TableError(f"{where}: there is a column {EMBEDDING!r} already")


def listed(names: Mapping[str, Any] | list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _problem(name: str, value: object, *, required: bool) -> str:
    if value is None:
        return f"{name!r} is null" if required else ""
    if not isinstance(value, str):
        return f"{name!r} is not a string"
    if required and not value:
        return f"{name!r} is empty"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"{name!r} is not Unicode: it holds half of a surrogate pair"
    return ""
