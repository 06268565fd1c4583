"""Looking at a message before it is parsed."""

import random

import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire_compat import open_inference_pb2 as inference
from gemwire_server.fronts.grpc.message_limits import FLAT, SMALL_BYTES, Layout, has_too_many_fields
from support.harness import text

BATCH = Layout(nested={pb.EmbedStreamRequest.BATCH_FIELD_NUMBER: {}})


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
            assert has_too_many_fields(raw, 1024, BATCH if nested else FLAT) == (
                count > 1024 + 64 - nested
            )


def test_fields_two_levels_down_count() -> None:
    """As many as the parser finds: one of the request, five of each tensor, and the elements."""
    layout = Layout(nested={5: {5: {}}}, fields_per_input=2)
    for count in (1000, 1049, 1050, 3000):
        request = inference.ModelInferRequest(id="a")
        for name in ("text", "title"):
            tensor = request.inputs.add(name=name, datatype="BYTES", shape=[count])
            tensor.contents.bytes_contents.extend([b"x" * 60] * count)
        raw = request.SerializeToString()
        assert len(raw) > SMALL_BYTES
        fields = 1 + 2 * (5 + count)
        assert has_too_many_fields(raw, 1024, layout) == (fields > 2 * 1024 + 64)
        assert not has_too_many_fields(raw, 1024)


@pytest.mark.parametrize("content", [b"\x0a\xff\xff\xff\x7f", b"\xff" * 12], ids=["size", "varint"])
def test_unknown_groups_hide_no_fields(content: bytes) -> None:
    """The parser skips a group that it does not know, and a field there may have a number of `nested`."""
    number = pb.EmbedStreamRequest.BATCH_FIELD_NUMBER
    field = bytes([number << 3 | 2, len(content)]) + content
    group = b"\xa3\x06" + field + b"\xa4\x06"  # field 100
    inputs = pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[text("")] * 50_000))
    raw = group + inputs.SerializeToString()
    assert len(pb.EmbedStreamRequest.FromString(raw).batch.inputs) == 50_000
    assert has_too_many_fields(raw, 1024, BATCH)


def test_what_is_no_message_is_left_to_the_parser() -> None:
    for raw in (b"\xff" * 100_000, b"\x0a" + b"\xff" * 100_000, bytes([10, 255, 255, 127]) * 1):
        assert not has_too_many_fields(raw, 1024)
