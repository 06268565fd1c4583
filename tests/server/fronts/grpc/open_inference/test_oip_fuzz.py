"""Damaged requests get a status of the server's own, and never that of a bug."""

import random
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

import grpc

from support.harness import running
from support.open_inference import WAIT, call, matrix, request

FUZZED = 3000
VALID = [
    request(["a", "b c"], id="an id", parameters={"task": "query", "dimensions": 32}),
    request(["a", "b c"], titles=["t", ""], raw=False, parameters={"task": "document"}),
]
ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
}


def damaged(valid: bytes, rng: random.Random) -> bytes:
    """A message that is cut, has other bits, or bytes put in."""
    where = rng.randrange(len(valid))
    match rng.randrange(3):
        case 0:
            return valid[:where]
        case 1:
            changed = bytearray(valid)
            for _ in range(rng.randrange(1, 4)):
                changed[rng.randrange(len(valid))] ^= 1 << rng.randrange(8)
            return bytes(changed)
        case _:
            return valid[:where] + rng.randbytes(rng.randrange(1, 9)) + valid[where:]


def test_damaged_requests(tiny_checkpoint: Path) -> None:
    seed = secrets.randbits(32)
    rng = random.Random(seed)
    found: Counter[grpc.StatusCode] = Counter()
    with running(str(tiny_checkpoint)) as served:
        stub: Any = served.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for _ in range(FUZZED // 32):
            many = [damaged(rng.choice(VALID).SerializeToString(), rng) for _ in range(32)]
            for raw, pending in [(raw, stub.future(raw, timeout=WAIT)) for raw in many]:
                code = pending.code()  # waits
                found[code] += 1
                assert code in ALLOWED, f"seed {seed}: {raw.hex()}: {pending.details()}"
        for valid in VALID:
            assert len(matrix(call(served.channel, "ModelInfer", valid))) == 2
    assert found[grpc.StatusCode.OK] and found[grpc.StatusCode.INVALID_ARGUMENT] > FUZZED / 4
