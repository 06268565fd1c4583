"""Vectors as a NumPy file, without the rows' columns."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np

from gemwire_server.cli.rows import Row, Vector


class NpySink:
    """float32 [rows, dimensions]; NaN where a text has no vector."""

    def __init__(self, file: IO[bytes], dimensions: int) -> None:
        self._file = file
        self._dimensions = dimensions
        self._rows = 0

    def write_header(self) -> None:
        """Writes the header, which NumPy pads so that the first axis may grow in place, up to 21 digits."""
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
