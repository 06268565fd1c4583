"""Rows in lines: a text a line, or a JSON object a line (JSONL)."""

import datetime
import itertools
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import IO, Any

from gemwire_server.cli import compression as compressed
from gemwire_server.cli.rows import EMBEDDING, Columns, Row, TableError, Vector

# No server takes a text that long; a compressed file may hold a line that has no end.
LONGEST_LINE = 256 << 20


class TextSource:
    """A text a line, or a JSON object a line, compressed or not.

    Only \\n ends a line; a \\r before it is dropped.
    """

    def __init__(self, name: str, file: IO[bytes], kind: str, columns: Columns) -> None:
        """`file` is at its start; `name` is what errors call it."""
        self._name = name
        self._file = self._inner = file
        try:
            compression = compressed.compression_of(compressed.peeked(file))
        except compressed.CompressionError as error:
            raise TableError(f"{name}: {error}") from None
        if compression:
            self._inner = compressed.reading(file, compression)
        self._compression = compression
        self._kind = kind
        self._columns = columns
        self.schema = None
        # Only a regular file has a size; others have 0 or none.
        self.size: int | None = None
        with suppress(OSError):
            self.size = os.fstat(file.fileno()).st_size or None

    def __iter__(self) -> Iterator[Row]:
        position = 0
        for number in itertools.count(1):
            where = f"line {number}"
            raw = self._line(where)
            if not raw:
                return
            position += len(raw)
            if self._compression and self.size:
                position = self._file.tell()
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise TableError(f"{where}: not UTF-8 at byte {error.start + 1}") from None
            if self._kind == "lines":
                yield Columns("text", None).row(where, {"text": line}, position)
            elif line.strip():
                yield self._columns.row(where, _parse_object(where, line), position)

    def _line(self, where: str) -> bytes:
        try:
            raw = self._inner.readline(LONGEST_LINE + 1)
        except compressed.DAMAGED as error:
            if not self._compression:
                raise
            raise TableError(
                f"{self._name}: damaged {self._compression} at {where}: {_said(error)}"
            ) from None
        if len(raw) > LONGEST_LINE:
            raise TableError(f"{where}: longer than {LONGEST_LINE >> 20} MiB")
        return raw


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _parse_object(where: str, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise TableError(f"{where}: not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise TableError(f"{where}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise TableError(f"{where}: not a JSON object")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


class JsonlSink:
    """The row's columns and its embedding, null where a text has none."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, row: Row, vector: Vector | None) -> None:
        # Nine digits are what a float32 needs to come back as it was; repr would print 17.
        numbers = "null" if vector is None else f"[{','.join(map(_NINE, vector.tolist()))}]"
        head = _dump(row)
        comma = b", " if row.columns else b""
        self._file.write(
            b'%s%s"%s": %s}\n' % (head[:-1], comma, EMBEDDING.encode(), numbers.encode())
        )


_NINE = "%.9g".__mod__


def _dump(row: Row) -> bytes:
    """The columns as a JSON object."""
    columns = dict(row.columns)
    try:
        try:
            dumped = json.dumps(columns, ensure_ascii=False, allow_nan=False, default=_as_text)
            return dumped.encode()
        except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8, but JSON can escape it
            return json.dumps(columns, allow_nan=False, default=_as_text).encode()
    except (TypeError, ValueError):
        raise TableError(f"{row.where}: a column has no JSON; write .parquet instead") from None


def _as_text(value: object) -> str:
    """The text of a value that Parquet has and JSON lacks."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError
