"""Files that are compressed: told by their first bytes, read and written as what is within.

gzip, bzip2 and xz are Python's own; Zstandard and LZ4 are pyarrow's.
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
# No text begins so: each but bzip2's is not UTF-8, or has a byte that no text has.
MAGICS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")  # after BZh and a digit: a block, or the end
# What people have and this does not read, and what to do about it.
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
    """A file is damaged, or of a kind that is not read."""


def split_ending(path: str) -> tuple[str, str]:
    """A name without the ending of its compression, and that compression, empty if there is none."""
    ending = Path(path).suffix.lower()
    if ending in ENDINGS:
        return path[: -len(ending)], ENDINGS[ending]
    return path, ""


def compression_of(head: bytes) -> str:
    """Of what begins so; empty: none. Raises CompressionError, with what to do, for what is not read."""
    for magic, what in OTHERS.items():
        if head.startswith(magic):
            raise CompressionError(f"is {what}")
    for magic, found in MAGICS.items():
        if head.startswith(magic) and (found != "bzip2" or head[4:10] in BZIP2_BLOCKS):
            return found
    return ""


def reading(file: IO[bytes], compression: str) -> IO[bytes]:
    """What is within the open file, as a file; several compressed ones end to end are one."""
    match compression:
        case "gzip":
            return cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb"))
        case "bzip2":
            return cast(IO[bytes], bz2.BZ2File(file))
        case "xz":
            return cast(IO[bytes], lzma.LZMAFile(file))
    stream = _pyarrow().input_stream(file, compression=compression)
    return cast(IO[bytes], io.BufferedReader(stream))  # which has lines


class _KeptOpen(io.RawIOBase):
    """Passes on what is written; pyarrow closes this instead of the file, which is its owner's."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._file.write(data)


@contextmanager
def writing(file: IO[bytes], compression: str) -> Iterator[IO[bytes]]:
    """What is written goes compressed into the open file, which is whole at the end of the block."""
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
    """The first bytes of an open file, which are read again: fewer if it has fewer."""
    return cast(io.BufferedReader, file).peek(MAGIC_BYTES)[:MAGIC_BYTES]
