"""The bytes of many messages of one size, made at once.

protobuf's Python writes a repeated float from numpy element by element (120 us for 768 of them). A
packed repeated float has the same bytes as a `bytes` field, and records of a batch have one size: so the
rows of one numpy block are the records, copied once. The bytes equal protobuf's own.
"""

from collections.abc import Sequence

import numpy as np

from gemwire_server.service.vectors import Bytes

Field = bytes | Bytes
"""Part of a record: the same bytes in every record, or uint8 [n, width] with a row for each."""


def field(tag: bytes, payload: bytes) -> bytes:
    """One length-delimited field."""
    return tag + varint(len(payload)) + payload


def delimited(tag: bytes, fields: Sequence[Field]) -> list[Field]:
    """The fields as one length-delimited field."""
    width = sum(len(field) if isinstance(field, bytes) else field.shape[1] for field in fields)
    return [tag + varint(width), *fields]


def block(record: Sequence[Field], count: int) -> bytes:
    """`count` records end to end, by one copy."""
    parts = [np.frombuffer(f, np.uint8) if isinstance(f, bytes) else f for f in record]
    rows = np.empty((count, sum(part.shape[-1] for part in parts)), np.uint8)
    at = 0
    for part in parts:
        rows[:, at : at + part.shape[-1]] = part
        at += part.shape[-1]
    return rows.tobytes()


def varint(value: int) -> bytes:
    """protobuf's base-128 integer (protobuf.dev/programming-guides/encoding)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
