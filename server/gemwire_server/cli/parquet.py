"""Parquet as a source and a sink, batch by batch; the other columns stay as they are."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gemwire_server.cli.rows import EMBEDDING, Columns, Row, TableError, Vector, listed

BATCH_ROWS = 1024
# The writer holds a group: 12 MiB of vectors of 768 dimensions.
GROUP_ROWS = 4096
# Without a buffer, pyarrow reads a whole row group of a column at once.
READ_BYTES = 1 << 20
# JSON's kinds of values, without objects and lists.
KINDS = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}


class ArrowColumns(Mapping[str, Any]):
    """One row of a batch. Its values become Python objects only when they are read."""

    __slots__ = ("batch", "index")

    def __init__(self, batch: Any, index: int) -> None:
        self.batch = batch
        self.index = index

    def __getitem__(self, name: str) -> Any:
        return self.batch.column(name)[self.index].as_py()

    def __contains__(self, name: object) -> bool:
        return name in self.batch.schema.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.batch.schema.names)

    def __len__(self) -> int:
        return len(self.batch.schema.names)


class ParquetSource:
    """The rows of an open file; `size` counts rows."""

    def __init__(self, path: str, file: Any, columns: Columns) -> None:
        self.schema = file.schema_arrow
        self.size: int | None = file.metadata.num_rows
        self._path = path
        self._file = file
        self._columns = columns
        names = self.schema.names
        if len(set(names)) < len(names):
            raise TableError(f"{path}: two columns have one name; there are {listed(names)}")
        columns.check_free(path, names)
        for name in filter(None, (columns.text, columns.title)):
            if name not in names:
                raise TableError(f"{path}: no column {name!r}; there are {listed(names)}")
            if not _holds_strings(kind := self.schema.field(name).type):
                raise TableError(f"{path}: column {name!r} is {kind}, not a string")

    def __iter__(self) -> Iterator[Row]:
        number = 0
        for batch in self._batches():
            for index in range(batch.num_rows):
                number += 1
                where = f"row {number}"
                try:
                    yield self._columns.row(where, ArrowColumns(batch, index), number)
                except UnicodeDecodeError:
                    raise TableError(f"{where}: not UTF-8") from None

    def _batches(self) -> Iterator[Any]:
        try:
            yield from self._file.iter_batches(batch_size=BATCH_ROWS)
        except (pa.ArrowException, OSError) as error:
            raise TableError(f"{self._path}: a damaged Parquet file: {error}") from None


def _holds_strings(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


@contextmanager
def parquet_source(path: str, columns: Columns) -> Iterator[ParquetSource]:
    # Opened here, for pyarrow takes some names for addresses of other filesystems.
    with open(path, "rb") as opened:
        try:
            file = pq.ParquetFile(opened, buffer_size=READ_BYTES)
        except (pa.ArrowException, OSError) as error:
            raise TableError(f"{path}: not a Parquet file: {error}") from None
        with file:
            yield ParquetSource(path, file, columns)


class ParquetSink:
    """Gathers rows into row groups. With the source's schema, columns keep their types.

    Without one, the first row group's values give the types, an object or list is kept as its JSON,
    and a later value that does not fit is refused: the file has one schema from its first row on.
    """

    def __init__(self, file: IO[bytes], dimensions: int, schema: Any | None) -> None:
        self._file = file
        self._source_schema = schema
        self._kind = pa.list_(pa.float32(), dimensions)
        self._writer: Any = None
        self._rows: list[Row] = []
        self._vectors = np.zeros((GROUP_ROWS, dimensions), np.float32)
        self._missing = np.zeros(GROUP_ROWS, np.bool_)

    def write(self, row: Row, vector: Vector | None) -> None:
        at = len(self._rows)
        self._missing[at] = vector is None
        self._vectors[at] = 0 if vector is None else vector
        self._rows.append(row)
        if len(self._rows) == GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Writes the gathered rows as a row group; without rows it writes the schema alone."""
        table = self._dict_table() if self._source_schema is None else self._arrow_table()
        count = len(self._rows)
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(self._vectors[:count].reshape(-1)),
            type=self._kind,
            mask=pa.array(self._missing[:count]),
        )
        table = table.append_column(pa.field(EMBEDDING, self._kind), vectors)
        if self._writer is None:
            # The source's metadata (pandas', Hugging Face's) describes a table without vectors.
            self._schema = table.schema.remove_metadata()
            others = [name for name in self._schema.names if name != EMBEDDING]
            self._writer = pq.ParquetWriter(self._file, self._schema, use_dictionary=others)
        if count:
            self._writer.write_table(table, row_group_size=GROUP_ROWS)
        self._rows.clear()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _arrow_table(self) -> Any:
        batches = []
        start = 0
        columns = [row.columns for row in self._rows if isinstance(row.columns, ArrowColumns)]
        for stop in range(1, len(columns) + 1):
            if stop == len(columns) or columns[stop].batch is not columns[start].batch:
                first = columns[start]
                batches.append(first.batch.slice(first.index, stop - start))
                start = stop
        return pa.Table.from_batches(batches, self._source_schema)

    def _dict_table(self) -> Any:
        if self._writer is None:
            names = list(dict.fromkeys(name for row in self._rows for name in row.columns))
            return pa.table({name: self._infer(name) for name in names})
        known = {field.name: field.type for field in self._schema if field.name != EMBEDDING}
        for row in self._rows:
            for name in row.columns:
                if name not in known:
                    raise TableError(
                        f"{row.where}: column {name!r} is not in the first {GROUP_ROWS} rows, "
                        "which give a Parquet file its columns; write .jsonl instead"
                    )
        return pa.table({name: self._convert(name, kind) for name, kind in known.items()})

    def _values(self, name: str) -> list[Any]:
        values = (row.columns.get(name) for row in self._rows)
        return [
            json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
            for value in values
        ]

    def _infer(self, name: str) -> Any:
        # In order: if the types differ, the error names the row that does not fit the first value's type.
        types = list(
            dict.fromkeys(type(value) for value in self._values(name) if value is not None)
        )
        if set(types) == {int, float}:
            return self._convert(name, pa.float64())
        return self._convert(name, KINDS[types[0]] if types else pa.null())

    def _convert(self, name: str, kind: Any) -> Any:
        values = self._values(name)
        # pyarrow would turn 2.5 into 2 for a column of whole numbers without an error.
        for row, value in zip(self._rows, values, strict=True):
            if not _fits(value, kind):
                raise TableError(
                    f"{row.where}: column {name!r} does not fit {kind}, the type of its first "
                    "values; write .jsonl instead"
                )
        return pa.array(values, kind)


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    if type(value) is int and kind == pa.float64():
        return abs(value) <= 2**53
    if type(value) is int and not -(2**63) <= value < 2**63:
        return False
    return value is None or KINDS[type(value)] == kind


@contextmanager
def parquet_sink(file: IO[bytes], dimensions: int, schema: Any | None) -> Iterator[ParquetSink]:
    sink = ParquetSink(file, dimensions, schema)
    try:
        yield sink
        sink.flush()
    finally:
        sink.close()
