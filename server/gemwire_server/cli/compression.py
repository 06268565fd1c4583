"""Compressed files: recognised by their first bytes, read and written as their content.

Python's own modules do gzip, bzip2 and xz; pyarrow does Zstandard and LZ4.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

ENDINGS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd", ".lz4": "lz4"}
# No text begins like this: all but bzip2's are not UTF-8, or have a byte that no text has.
MAGICS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")  # after BZh and a digit: a block, or the end
# Files that people have and gemwire does not read, and what to do about them.
OTHERS = {
    b"PK\x03\x04": "a ZIP archive: unpack it first (unzip)",
    b"\x1f\x9d": "compressed by `compress`: unpack it first (gzip -d)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first (7z x)",
    b"\xff\x06\x00\x00sNaPpY": "compressed by Snappy: unpack it first",
    b"PAR1\x15": "Parquet: give --format parquet",
    b"\xff\xfe": "UTF-16: convert it first (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "UTF-16: convert it first (iconv -f UTF-16 -t UTF-8)",
}
MAGIC_BYTES = 10
DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)


class CompressionError(ValueError):
    """A file is of a kind that gemwire does not read."""


def split_ending(path: str) -> tuple[str, str]:
    """Splits a name into the name without its compression's ending and the compression, "" for none."""
    ending = Path(path).suffix.lower()
    if ending in ENDINGS:
        return path[: -len(ending)], ENDINGS[ending]
    return path, ""


def compression_of(head: bytes) -> str:
    """The compression of a file with these first bytes, "" for none.

    Raises CompressionError, which says what to do, for a kind that gemwire does not read.
    """
    for magic, what in OTHERS.items():
        if head.startswith(magic):
            raise CompressionError(f"is {what}")
    for magic, found in MAGICS.items():
        if head.startswith(magic) and (found != "bzip2" or head[4:10] in BZIP2_BLOCKS):
            return found
    return ""


def reading(file: IO[bytes], compression: str) -> IO[bytes]:
    """The content of an open file, as a file; several compressed files end to end are one."""
    match compression:
        case "gzip":
            return cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb"))
        case "bzip2":
            return cast(IO[bytes], bz2.BZ2File(file))
        case "xz":
            return cast(IO[bytes], lzma.LZMAFile(file))
    stream = _pyarrow().input_stream(file, compression=compression)
    return cast(IO[bytes], io.BufferedReader(stream))  # a reader that has readline


class _KeptOpen(io.RawIOBase):
    """Passes writes on. pyarrow closes this object instead of the file, which its owner closes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._file.write(data)


@contextmanager
def writing(file: IO[bytes], compression: str) -> Iterator[IO[bytes]]:
    """Compresses what the block writes into the open file, which is whole at the end of the block."""
    match compression:
        case "":
            yield file
            return
        case "gzip":
            # No name and no time: the same vectors are the same bytes.
            made: Any = gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0)
        case "bzip2":
            made = bz2.BZ2File(file, "wb")
        case "xz":
            made = lzma.LZMAFile(file, "wb")  # noqa: SIM115  closed below
        case _:
            made = _pyarrow().output_stream(_KeptOpen(file), compression=compression)
    with made:
        yield made


def _pyarrow() -> Any:
    import pyarrow

    return pyarrow


def peeked(file: IO[bytes]) -> bytes:
    """The first bytes of an open file (all, if it has fewer), without moving its position."""
    return cast(io.BufferedReader, file).peek(MAGIC_BYTES)[:MAGIC_BYTES]
