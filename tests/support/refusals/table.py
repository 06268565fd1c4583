"""The tables of docs/refusals.md."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from support.refusals.observed import NONE, Refusal
from uninstalled import ROOT

PAGE = ROOT / "docs" / "refusals.md"
WHOLE_CALL, ONE_TEXT = "The whole call", "One text"
"""Headings of the two tables."""
COLUMNS = ("Where", "When", "Code", "Reason", "Details", "What the caller should do")


@dataclass(frozen=True)
class Row:
    """A row of a table. `table` is the heading above it, `place` its number in the table."""

    table: str
    place: int
    where: str
    refusal: Refusal

    @property
    def key(self) -> tuple[str, str, str]:
        """Names the row: its table, where it is met, and its reason, or its code if it has none."""
        refusal = self.refusal
        name = refusal.reason if refusal.reason != NONE else refusal.code
        return self.table, self.where, name


def read_rows(page: str) -> list[Row]:
    """Rows of both tables, in their order."""
    rows = [row for table in (WHOLE_CALL, ONE_TEXT) for row in _rows(page, table)]
    keys = [row.key for row in rows]
    assert len(set(keys)) == len(keys), "two rows have the same name"
    return rows


def _rows(page: str, heading: str) -> Iterator[Row]:
    section = re.split(r"^## ", page.partition(f"\n## {heading}\n")[2], flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert _cells(lines[0]) == list(COLUMNS), f"the table of {heading!r} has other columns"
    for place, line in enumerate(lines[2:]):
        cells = _cells(line)
        assert len(cells) == len(COLUMNS) and all(cells), line
        where, _, code, reason, details, _ = cells
        refusal = Refusal(_plain(code), _plain(reason), frozenset(re.findall("`([^`]+)`", details)))
        yield Row(heading, place, where, refusal)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _plain(cell: str) -> str:
    return cell.strip("`")
