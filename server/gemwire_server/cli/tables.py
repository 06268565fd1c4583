"""Texts in, vectors out, a row at a time: lines, JSONL and .npy; Parquet is in `parquet`.

A source yields rows, a sink takes each with its vector. Neither holds more than a few of them, and
a sink's file has its name only once it is whole.
"""

import datetime
import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gemwire_server.cli import compression as compressed
from gemwire_server.cli.files import replacing
from gemwire_server.streams import standard_input

EMBEDDING = "embedding"
# No server takes a text that long; a compressed file may hold a line that has no end.
LONGEST_LINE = 256 << 20
INPUT_FORMATS = {
    ".txt": "lines",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
OUTPUT_FORMATS = {**INPUT_FORMATS, ".npy": "npy"}
del OUTPUT_FORMATS[".txt"]

Vector = NDArray[np.float32]


class TableError(ValueError):
    """A table cannot be read or written; names the row, never what is in it."""


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
    """Where text and title are; without a name for the title there is none."""

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


@contextmanager
def open_source(path: str, kind: str | None, columns: Columns) -> Iterator[Source]:
    """Opens a file, or standard input for "-". `kind` is lines, jsonl, parquet, or by the name."""
    inner, compression = compressed.split_ending(path)
    kind = kind or ("lines" if path == "-" else INPUT_FORMATS.get(Path(inner).suffix.lower()))
    if kind is None:
        raise TableError(
            f"{path}: its name ends in none of {', '.join(INPUT_FORMATS)}, with or without "
            f"{', '.join(compressed.ENDINGS)}: give its --format"
        )
    if kind == "lines" and columns != Columns("text", None):
        raise TableError(f"{path}: lines have no columns; --format jsonl does")
    if kind == "parquet":
        if path == "-":
            raise TableError("Parquet has its index at the end, so that it cannot come from a pipe")
        if compression:
            raise TableError(
                f"{path}: Parquet compressed as a whole has no index: unpack it first; Parquet's own "
                "compression is read"
            )
        from gemwire_server.cli.parquet import parquet_source

        with parquet_source(path, columns) as source:
            yield source
        return
    if path == "-":
        yield TextSource("standard input", standard_input(), kind, columns)
        return
    with open(path, "rb") as file:
        yield TextSource(path, file, kind, columns)


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
        # What is not a regular file has size 0, if any.
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


@contextmanager
def open_sink(path: str, dimensions: int, schema: Any = None) -> Iterator[Sink]:
    """Opens a file by its name's ending, or standard output for JSONL with "-".

    A file is written beside its place and put there when the block ends without an exception.
    `schema` is that of the source.
    """
    kind, compression = check_output(path)
    if path == "-":
        yield JsonlSink(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    with (
        replacing(Path(path)) as file,
        compressed.writing(file, compression) as inner,
        _make_sink(kind, inner, dimensions, schema) as sink,
    ):
        yield sink


def check_output(path: str) -> tuple[str, str]:
    """The format and compression that an output's name tells. Raises TableError where it has none."""
    if path == "-":
        return "jsonl", ""
    inner, compression = compressed.split_ending(path)
    if (kind := OUTPUT_FORMATS.get(Path(inner).suffix.lower())) is None:
        raise TableError(
            f"{path}: the name's ending tells the format: {', '.join(OUTPUT_FORMATS)}; "
            "- is JSONL on standard output"
        )
    if compression and kind != "jsonl":
        raise TableError(
            f"{path}: only JSONL is written compressed: leave out {Path(path).suffix}, and compress "
            "the file afterwards"
        )
    return kind, compression


def _make_sink(
    kind: str, file: IO[bytes], dimensions: int, schema: Any
) -> AbstractContextManager[Sink]:
    if kind == "npy":
        return npy_sink(file, dimensions)
    if kind == "jsonl":
        return nullcontext(JsonlSink(file))
    from gemwire_server.cli.parquet import parquet_sink

    return parquet_sink(file, dimensions, schema)


class NpySink:
    """float32 [rows, dimensions]; NaN where a text has no vector."""

    def __init__(self, file: IO[bytes], dimensions: int) -> None:
        self._file = file
        self._dimensions = dimensions
        self._rows = 0

    def write_header(self) -> None:
        """NumPy pads it so that the first axis may grow in place, up to 21 digits."""
        header = {"descr": "<f4", "fortran_order": False, "shape": (self._rows, self._dimensions)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, row: Row, vector: Vector | None) -> None:
        if vector is None:
            vector = np.full(self._dimensions, np.nan, np.float32)
        self._file.write(vector.astype("<f4", copy=False).tobytes())
        self._rows += 1


@contextmanager
def npy_sink(file: IO[bytes], dimensions: int) -> Iterator[NpySink]:
    sink = NpySink(file, dimensions)
    sink.write_header()
    yield sink
    file.seek(0)
    sink.write_header()


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
    """What Parquet holds and JSON has no kind for."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError
