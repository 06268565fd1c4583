"""Counts the fields of a message before it is parsed.

16 MiB hold eight million empty inputs. As objects they would take 700 MB and hold up every other call for
half a second, only to be refused for their number.
"""

# What fits in less is parsed at once, whatever it is.
SMALL_BYTES = 65536
# Fields of a message beside its inputs: options, and what a newer client may add.
SPARE_FIELDS = 64
# Wire types, and the bytes of those that have a fixed size.
VARINT, DELIMITED = 0, 2
SIZES = {1: 8, 5: 4}


def has_too_many_fields(raw: bytes, max_inputs: int, within: int = 0) -> bool:
    """Whether the message has far more fields than inputs are allowed. The fields of the field with number
    `within` count too. False for malformed bytes: the parser refuses them."""
    return len(raw) > SMALL_BYTES and _too_many(raw, max_inputs + SPARE_FIELDS, within)


def _too_many(raw: bytes, limit: int, within: int) -> bool:
    """Reads no further than the limit."""
    count, at = 0, 0
    inner_end = 0  # of the field `within` that is being read
    try:
        while at < len(raw):
            count += 1
            if count > limit:
                return True
            tag, at = _varint(raw, at)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                _, at = _varint(raw, at)
            elif kind == DELIMITED:
                size, at = _varint(raw, at)
                if number == within and at >= inner_end:
                    inner_end = at + size
                else:
                    at += size
            else:
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
