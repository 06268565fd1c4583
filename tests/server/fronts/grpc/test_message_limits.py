"""Looking at a message before it is parsed."""

import random

import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.fronts.grpc.message_limits import SMALL_BYTES, has_too_many_fields
from support.harness import text

BATCH = pb.EmbedStreamRequest.BATCH_FIELD_NUMBER


@pytest.mark.parametrize("nested", [False, True])
def test_a_look_agrees_with_the_parser(nested: bool) -> None:
    rng = random.Random(7)
    for _ in range(300):
        count = rng.choice([1000, 1024, 1080, 1100, 2000])
        inputs = [text("x" * rng.randrange(200), "t" * rng.randrange(3)) for _ in range(count)]
        if nested:
            raw = pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=inputs)).SerializeToString()
        else:
            raw = pb.BatchEmbedRequest(inputs=inputs).SerializeToString()
        if len(raw) > SMALL_BYTES:
            # A nested message's own field and its first_id count too.
            assert has_too_many_fields(raw, 1024, BATCH if nested else 0) == (
                count > 1024 + 64 - nested
            )


def test_what_is_no_message_is_left_to_the_parser() -> None:
    for raw in (b"\xff" * 100_000, b"\x0a" + b"\xff" * 100_000, bytes([10, 255, 255, 127]) * 1):
        assert not has_too_many_fields(raw, 1024)
