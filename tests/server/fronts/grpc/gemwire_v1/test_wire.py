"""The written bytes against protobuf's own serialization of the same messages."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.errors import EngineFailure, GemwireError, InvalidInput
from gemwire_server.fronts.grpc.gemwire_v1.wire import (
    ENCODING_NUMBERS,
    batch_response,
    embed_response,
    results_that_fit,
    stream_results,
    token_spans,
)
from gemwire_server.fronts.grpc.records import varint
from gemwire_server.fronts.grpc.status import duration, to_status
from gemwire_server.service.results import EmbedResults
from gemwire_server.service.vectors import Encoding, VectorFormat, cut, encode

SIZE = 768
ERRORS: dict[int, GemwireError] = {
    2: InvalidInput("EMPTY_TEXT", "the text is empty", field="inputs[2].text"),
    5: EngineFailure("NOT_FINITE", "no finite vector"),
}


def answers(count: int, seed: int, errors: dict[int, GemwireError] | None = None) -> EmbedResults:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, SIZE)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return EmbedResults(
        vectors=vectors,
        token_counts=random.integers(1, 2049, count).astype(np.uint32),
        truncated=random.random(count) < 0.3,
        errors={row: error for row, error in (errors or {}).items() if row < count},
    )


def expected_embedding(made: EmbedResults, row: int, how: VectorFormat) -> pb.Embedding:
    """The message, filled number by number through protobuf."""
    vector = cut(made.vectors[row : row + 1], how)[0]
    message = pb.Embedding(
        dimensions=how.dimensions,
        encoding=ENCODING_NUMBERS[how.encoding],  # type: ignore[arg-type]
        token_count=int(made.token_counts[row]),
        truncated=bool(made.truncated[row]),
    )
    if how.encoding == Encoding.FLOAT32:
        message.values.extend(vector.tolist())
        return message
    payload, scale = encode(vector[None], how.encoding)
    message.data = payload.tobytes()
    if scale is not None:
        message.scale = float(scale[0])
    return message


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("dimensions", [768, 512, 256, 128])
@pytest.mark.parametrize("count", [1, 2, 64])
def test_bytes_equal_protobufs(encoding: Encoding, dimensions: int, count: int) -> None:
    how = VectorFormat(dimensions, normalize=True, encoding=encoding)
    made = answers(count, seed=dimensions + count, errors=ERRORS)
    timing = pb.Timing(batch_texts=3, batch_tokens=77)
    rest = pb.BatchEmbedResponse(timing=timing, model_revision="r1")
    expected = pb.BatchEmbedResponse()
    expected.CopyFrom(rest)
    for row in range(count):
        if row in made.errors:
            expected.results.add(error=to_status(made.errors[row]))
        else:
            expected.results.add(embedding=expected_embedding(made, row, how))
    assert batch_response(made, how, rest) == expected.SerializeToString(deterministic=True)


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("first_id", [0, 1, 127, 2**63, 2**64 - 3])
def test_stream_bytes_equal_protobufs(encoding: Encoding, first_id: int) -> None:
    how = VectorFormat(256, normalize=True, encoding=encoding)
    made = answers(8, seed=first_id % 97, errors=ERRORS)
    ids = np.uint64(first_id) + np.arange(8, dtype=np.uint64)  # past the last id comes 0
    expected = pb.StreamResults()
    for row in range(8):
        result = expected.results.add(id=int(ids[row]))
        if row in made.errors:
            result.error.CopyFrom(to_status(made.errors[row]))
        else:
            result.embedding.CopyFrom(expected_embedding(made, row, how))
    assert stream_results(made, ids, how) == expected.SerializeToString()


@pytest.mark.parametrize("encoding", Encoding)
def test_single_response(encoding: Encoding) -> None:
    how = VectorFormat(768, normalize=True, encoding=encoding)
    made = answers(1, seed=3)
    rest = pb.EmbedResponse(model_revision="r2")
    expected = pb.EmbedResponse(embedding=expected_embedding(made, 0, how), model_revision="r2")
    assert embed_response(made, how, rest) == expected.SerializeToString()


def test_no_results() -> None:
    rest = pb.BatchEmbedResponse(model_revision="r")
    how = VectorFormat(768, normalize=True, encoding=Encoding.FLOAT32)
    assert batch_response(answers(0, seed=0), how, rest) == rest.SerializeToString()


def test_cut_vectors_are_of_length_one_again() -> None:
    vectors = answers(10, seed=4).vectors
    how = VectorFormat(128, normalize=True, encoding=Encoding.FLOAT32)
    part = cut(vectors, how)
    expected = vectors[:, :128].astype(np.float64)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(part, expected, atol=1e-7)
    raw = cut(vectors, VectorFormat(128, normalize=False, encoding=Encoding.FLOAT32))
    np.testing.assert_array_equal(raw, vectors[:, :128])


def special_values() -> NDArray[np.float32]:
    """Ties of the rounding, both signs of zero, subnormals, and a spread of ordinary numbers."""
    ties = np.array([0x3F808000, 0x3F818000, 0x3F80FFFF, 0x00000001, 0x80000000], np.uint32)
    random = np.random.default_rng(5).normal(size=1019).astype(np.float32)
    return np.concatenate([ties.view(np.float32), random])[None]


def test_bfloat16_rounds_as_torch_does() -> None:
    import torch

    values = special_values()
    payload, _ = encode(values, Encoding.BFLOAT16)
    expected = torch.from_numpy(values).bfloat16().view(torch.int16).numpy()
    np.testing.assert_array_equal(payload.view("<i2"), expected)


def test_float16_is_ieee() -> None:
    values = special_values()
    payload, _ = encode(values, Encoding.FLOAT16)
    np.testing.assert_array_equal(payload.view("<f2"), values.astype(np.float16))


def test_int8_is_within_half_a_step() -> None:
    vectors = answers(20, seed=6).vectors
    vectors[3] = 0
    payload, scale = encode(vectors, Encoding.INT8)
    assert scale is not None and (scale > 0).all()
    decoded = payload.view(np.int8) * scale[:, None]
    assert (np.abs(decoded - vectors) <= scale[:, None] * 0.5000001).all()
    assert np.abs(payload.view(np.int8)).max() == 127


def test_fixed_int8_has_one_scale() -> None:
    vectors = answers(20, seed=6).vectors
    vectors[3] = 0
    vectors[4] = 0
    vectors[4, 7] = np.nextafter(np.float32(-1), np.float32(-2))  # as rounding may leave it
    payload, scale = encode(vectors, Encoding.INT8_FIXED)
    assert scale is not None and (scale == np.float32(1 / 127)).all()
    found = payload.view(np.int8)
    np.testing.assert_allclose(found, vectors * 127, rtol=0, atol=0.5001)
    assert found[4, 7] == -127


@pytest.mark.parametrize("width", [768, 128, 12])
def test_bits_equal_sentence_transformers(width: int) -> None:
    quantize = pytest.importorskip("sentence_transformers.util").quantize_embeddings
    vectors = answers(30, seed=8).vectors[:, :width].copy()
    vectors[2, :9] = (0.0, -0.0, 1, 0, -1, 0, 0, 0, 1)
    unsigned, none = encode(vectors, Encoding.UBINARY)
    assert none is None
    np.testing.assert_array_equal(unsigned, quantize(vectors, precision="ubinary"))
    signed, _ = encode(vectors, Encoding.BINARY)
    np.testing.assert_array_equal(signed.view(np.int8), quantize(vectors, precision="binary"))


def test_the_order_of_bits() -> None:
    vector = np.full((1, 16), -1, np.float32)
    vector[0, [0, 9, 10]] = (1.0, 0.5, 0.0)  # zero is no positive number
    found = {
        encoding: encode(vector, encoding)[0].tolist()
        for encoding in (Encoding.UBINARY, Encoding.UBINARY_LSB)
    }
    assert found == {
        Encoding.UBINARY: [[0b10000000, 0b01000000]],
        Encoding.UBINARY_LSB: [[0b00000001, 0b00000010]],
    }


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("dimensions", [768, 128, 12])
@pytest.mark.parametrize("limit", [65536, 4 * 2**20])
def test_so_many_results_fit(encoding: Encoding, dimensions: int, limit: int) -> None:
    how = VectorFormat(dimensions, normalize=False, encoding=encoding)
    most = results_that_fit(how, limit)
    one = answers(1, seed=9)
    made = EmbedResults(
        vectors=np.repeat(one.vectors, most, axis=0),
        token_counts=np.full(most, 2048, np.uint32),
        truncated=np.ones(most, np.bool_),
        errors={},
    )
    timing = pb.Timing(
        tokenize=duration(1e6 + 1e-9),
        queue=duration(1e6 + 1e-9),
        compute=duration(1e6 + 1e-9),
        total=duration(1e6 + 1e-9),
        batch_texts=2**31,
        batch_tokens=2**31,
    )
    rest = pb.BatchEmbedResponse(timing=timing, model_revision="r" * 128)
    size = len(batch_response(made, how, rest))
    assert size <= limit
    if (encoding, limit) == (Encoding.FLOAT32, 4 * 2**20) and dimensions == 768:
        assert size > 0.98 * limit
    ids = np.full(most, 2**64 - 1, np.uint64)
    granted = pb.StreamResults(timing=timing, granted_inputs=2**31)
    assert len(stream_results(made, ids, how)) + granted.ByteSize() + 16 <= limit


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**21, 2**32 - 1])
def test_varint(value: int) -> None:
    field = pb.EmbedOptions(output_dimensionality=value).SerializeToString()
    assert varint(value) == (field[1:] or b"\x00")


@pytest.mark.parametrize("seed", range(5))
def test_spans_of_tokens(seed: int) -> None:
    """Zeros are left out, and integers have as few bytes as they need."""
    random = np.random.default_rng(seed)
    ends = np.cumsum(random.integers(1, 10 ** (seed + 1), 3000)).astype(np.uint32)
    spans = np.stack((np.append(0, ends[:-1]), ends), axis=1).astype(np.uint32)
    around = np.zeros((seed, 2), np.uint32)
    edges = [v for bits in (7, 14, 21, 28) for v in (2**bits - 1, 2**bits)] + [2**32 - 1]
    edged = np.array([(v - 1, v) for v in edges], np.uint32)
    for each in (np.concatenate((around, spans, around)), spans[:1], edged, edged[::-1]):
        message = pb.TokenizeResponse()
        for begin, end in each.tolist():
            message.spans.add(start_byte=begin, end_byte=end)
        assert token_spans(each) == message.SerializeToString()
    assert token_spans(np.zeros((0, 2), np.uint32)) == b""
