"""Damaged messages, and the statuses that a server may answer them with."""

import random

import grpc

# A bit may turn a value into another valid one; it may never become a bug.
ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
}


def damaged(valid: bytes, rng: random.Random) -> bytes:
    """Random bytes, or a message that is cut, has other bits, or a part twice."""
    where = rng.randrange(len(valid))
    match rng.randrange(5):
        case 0:
            return rng.randbytes(rng.randrange(1, 200))
        case 1:
            return valid[:where]
        case 2:
            changed = bytearray(valid)
            for _ in range(rng.randrange(1, 4)):
                changed[rng.randrange(len(valid))] ^= 1 << rng.randrange(8)
            return bytes(changed)
        case 3:
            return valid[:where] + rng.randbytes(rng.randrange(1, 9)) + valid[where:]
        case _:
            return valid + valid[where:]
