"""Damaged requests get a status of the server's own, and never that of a bug."""

import random
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

import grpc

from support.damage import ALLOWED, damaged
from support.harness import running
from support.methods import WAIT
from support.open_inference import call, matrix, request

FUZZED = 3000
VALID = [
    request(["a", "b c"], id="an id", parameters={"task": "query", "dimensions": 32}),
    request(["a", "b c"], titles=["t", ""], raw=False, parameters={"task": "document"}),
]


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
