"""Counts the fields of a message before it is parsed.

16 MiB hold eight million empty inputs. As objects they would take 700 MB and hold up every other call for
half a second, only to be refused for their number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

# What fits in less is parsed at once, whatever it is.
SMALL_BYTES = 65536
# Fields of a message beside its inputs: options, and what a newer client may add.
SPARE_FIELDS = 64
# Wire types, and the bytes of those that have a fixed size.
VARINT, DELIMITED, BEGIN_GROUP, END_GROUP = 0, 2, 3, 4
SIZES = {1: 8, 5: 4}


Nested = Mapping[int, "Nested"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a message has its inputs.

    The fields of the message count, and those of the messages in the fields that `nested` numbers, whose
    own nested fields stand below their number. An input takes up to `fields_per_input` of them.
    """

    nested: Nested = field(default_factory=dict)
    fields_per_input: int = 1


FLAT = Layout()
"""The inputs are fields of the message itself."""


def has_too_many_fields(raw: bytes, max_inputs: int, layout: Layout = FLAT) -> bool:
    """Whether the message has far more fields than inputs are allowed. False for malformed bytes: the
    parser refuses them."""
    limit = max_inputs * layout.fields_per_input + SPARE_FIELDS
    return len(raw) > SMALL_BYTES and _too_many(raw, limit, layout.nested)


def _too_many(raw: bytes, limit: int, nested: Nested) -> bool:
    """Reads no further than the limit."""
    count, at, groups = 0, 0, 0
    reading = [(len(raw), nested)]  # the ends of the messages that are being read, the inmost last
    try:
        while reading:
            end, inner = reading[-1]
            if at >= end:
                reading.pop()
                continue
            count += 1
            if count > limit:
                return True
            tag, at = _varint(raw, at)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                _, at = _varint(raw, at)
            elif kind == DELIMITED:
                size, at = _varint(raw, at)
                # In a group, which the parser skips, a number says nothing: its bytes may be no message.
                if number in inner and not groups:
                    reading.append((at + size, inner[number]))
                else:
                    at += size
            else:
                groups += (kind == BEGIN_GROUP) - (kind == END_GROUP)
                at += SIZES.get(kind, 0)  # a group's begin and end are fields without a value
    except IndexError:
        pass
    return False


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number there, and where it ends."""
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError("a varint of more than ten bytes")
