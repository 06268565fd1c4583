"""Malformed and oversized messages get the right status, and their memory is released."""

import contextlib
import gzip
import random
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from gemwire.v1 import embedding_pb2 as pb
from support.damage import ALLOWED, damaged
from support.harness import Served, failure, running, text
from support.server_process import ServerProcess, server_process

WAIT = 60.0
MIB = 2**20
EMBEDDING = "/gemwire.v1.EmbeddingService/"
BATCH = pb.EmbedStreamRequest.BATCH_FIELD_NUMBER
# As many as fit in one message of the default size.
EMPTY_INPUTS = b"\x0a\x00" * (8 * MIB - 100)
FUZZED = 10_000

OPEN = pb.EmbedStreamRequest(open=pb.StreamOpen()).SerializeToString()
DOCUMENT = pb.TASK_TYPE_RETRIEVAL_DOCUMENT
VALID: dict[str, Message] = {
    "Embed": pb.EmbedRequest(input=text("a text", "title"), options=pb.EmbedOptions(task=DOCUMENT)),
    "BatchEmbed": pb.BatchEmbedRequest(
        inputs=[text("a"), pb.EmbedInput(tokens=pb.TokenIds(ids=[5, 6, 7])), text("b", "c")],
        options=pb.EmbedOptions(
            task=DOCUMENT, output_dimensionality=32, truncation=pb.TRUNCATION_END
        ),
    ),
    "EmbedStream": pb.EmbedStreamRequest(batch=pb.StreamBatch(first_id=7, inputs=[text("a")] * 3)),
    "ComputeSimilarity": pb.ComputeSimilarityRequest(source=text("a"), targets=[text("b")] * 3),
    "Tokenize": pb.TokenizeRequest(input=text("a text"), include_pieces=True, include_spans=True),
    "Detokenize": pb.DetokenizeRequest(ids=[2, 300, 7, 1], keep_special_tokens=True),
    "GetModel": pb.GetModelRequest(name="models/tiny"),
    "ListModels": pb.ListModelsRequest(page_size=3, page_token="a"),
}


def test_random_and_truncated_messages_have_a_status_of_ours(tiny_checkpoint: Path) -> None:
    seed = secrets.randbits(32)
    rng = random.Random(seed)
    found: Counter[grpc.StatusCode] = Counter()
    pending: deque[tuple[str, bytes, Any]] = deque()

    def take() -> None:
        name, raw, call = pending.popleft()
        if name == "EmbedStream":
            with contextlib.suppress(grpc.RpcError):
                deque(call, maxlen=0)
        code = call.code()  # waits
        found[code] += 1
        assert code in ALLOWED, f"seed {seed}: {name} {raw.hex()} is {code}: {call.details()}"
        if code is not grpc.StatusCode.OK:
            assert dict(call.trailing_metadata())["grpc-status-details-bin"]

    with running(str(tiny_checkpoint)) as served:
        names = list(VALID)
        for number in range(FUZZED):
            name = names[number % len(names)]
            raw = damaged(VALID[name].SerializeToString(), rng)
            service = "ModelService" if name.endswith(("Model", "Models")) else "EmbeddingService"
            path = f"/gemwire.v1.{service}/{name}"
            if name == "EmbedStream":
                first = [OPEN] * rng.randrange(2)
                call: Any = raw_stream(served.channel, path)(iter([*first, raw]), timeout=WAIT)
            else:
                call = raw_unary(served.channel, path).future(raw, timeout=WAIT)
            pending.append((name, raw, call))
            if len(pending) >= 32:
                take()
        while pending:
            take()
        assert served.embedding.Embed(pb.EmbedRequest(input=text("a"))).embedding.dimensions
    assert sum(found.values()) == FUZZED
    assert found[grpc.StatusCode.INVALID_ARGUMENT] > FUZZED / 4, found


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), max_metadata_bytes=4096) as server:
        yield server


def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    known = failure(caught.value)
    return known.code, known.reason


def raw_unary(channel: grpc.Channel, path: str) -> Any:
    """A unary method whose request and answer are bytes."""
    return channel.unary_unary(path)


def raw_stream(channel: grpc.Channel, path: str) -> Any:
    return channel.stream_stream(path)


def within(number: int, inner: bytes) -> bytes:
    """The bytes as a field of that number."""
    size, length = len(inner), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + inner


def test_millions_of_empty_inputs_are_refused_unparsed(served: Served) -> None:
    too_many = (grpc.StatusCode.INVALID_ARGUMENT, "TOO_MANY_INPUTS")
    for name in ("Embed", "BatchEmbed", "ComputeSimilarity", "Tokenize"):
        method = raw_unary(served.channel, EMBEDDING + name)
        assert refusal(lambda method=method: method(EMPTY_INPUTS)) == too_many, name
    stream = raw_stream(served.channel, EMBEDDING + "EmbedStream")
    inputs = b"\x12\x00" * (8 * MIB - 100)
    spread = within(BATCH, b"\x12\x00" * 1000) * 100  # parts of a field are joined
    for batch in (within(BATCH, inputs), spread):
        assert refusal(lambda batch=batch: list(stream(iter([OPEN, batch])))) == too_many
    titles = pb.BatchEmbedRequest(inputs=[text("x", "title")] * 100_000)
    assert refusal(lambda: served.embedding.BatchEmbed(titles)) == too_many
    few = pb.BatchEmbedRequest(inputs=[text("x")] * 1025)
    assert refusal(lambda: served.embedding.BatchEmbed(few)) == too_many


def test_a_text_of_15_mb_is_refused_or_cut(served: Served) -> None:
    huge = text("ab " * 5_000_000)
    too_long = (grpc.StatusCode.INVALID_ARGUMENT, "TEXT_TOO_LONG")
    assert refusal(lambda: served.embedding.Embed(pb.EmbedRequest(input=huge))) == too_long
    assert refusal(lambda: served.embedding.Tokenize(pb.TokenizeRequest(input=huge))) == too_long
    end = pb.EmbedOptions(truncation=pb.TRUNCATION_END)
    cut = served.embedding.Embed(pb.EmbedRequest(input=huge, options=end))
    assert (cut.embedding.token_count, cut.embedding.truncated) == (2048, True)


@pytest.mark.parametrize(
    "truncation", [pb.TRUNCATION_ERROR, pb.TRUNCATION_END, pb.TRUNCATION_START]
)
def test_millions_of_token_ids_are_refused_or_cut(
    served: Served, truncation: pb.Truncation
) -> None:
    ids = within(1, within(2, within(1, b"\x05" * (15 * MIB))))
    options = pb.EmbedRequest(options=pb.EmbedOptions(truncation=truncation)).SerializeToString()
    embed = raw_unary(served.channel, EMBEDDING + "Embed")
    if truncation == pb.TRUNCATION_ERROR:
        code, reason = refusal(lambda: embed(ids + options))
        assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TEXT_TOO_LONG")
        return
    answer = pb.EmbedResponse.FromString(embed(ids + options)).embedding
    assert (answer.token_count, answer.truncated) == (2048, True)


def test_a_bomb_is_not_unpacked(served: Served) -> None:
    # As gRPC frames it: 30 kB that would be 30 MB.
    assert len(gzip.compress(bytes(30 * MIB))) < 64 * 1024
    with grpc.insecure_channel(
        served.address,
        options=[("grpc.max_send_message_length", -1)],
        compression=grpc.Compression.Gzip,
    ) as channel:
        embed = raw_unary(channel, EMBEDDING + "Embed")
        with pytest.raises(grpc.RpcError) as caught:
            embed(bytes(30 * MIB))
        assert code_of(caught.value) is grpc.StatusCode.RESOURCE_EXHAUSTED


def code_of(error: BaseException) -> grpc.StatusCode:
    assert isinstance(error, grpc.Call)
    return error.code()


def test_metadata_is_bounded(served: Served) -> None:
    request = pb.EmbedRequest(input=text("a"))
    for count, size, fits in ((1, 100, True), (30, 20, True), (1, 5000, False), (1000, 1, False)):
        metadata = tuple((f"key-{i}", "v" * size) for i in range(count))
        if fits:
            served.embedding.Embed(request, metadata=metadata)
            continue
        with pytest.raises(grpc.RpcError) as caught:
            served.embedding.Embed(request, metadata=metadata)
        assert code_of(caught.value) is grpc.StatusCode.RESOURCE_EXHAUSTED
    served.embedding.Embed(request)


def test_a_connection_has_so_many_calls_and_no_more(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), max_streams_per_connection=3) as served:
        streams = [open_stream(served) for _ in range(3)]
        for stream in streams:
            next(stream)
        waiting = served.embedding.Embed.future(pb.EmbedRequest(input=text("a")), timeout=WAIT)
        with grpc.insecure_channel(
            served.address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as other:
            raw_unary(other, "/gemwire.v1.ModelService/ListModels")(b"", timeout=WAIT)
        assert not waiting.done()
        streams[0].cancel()
        assert waiting.result().embedding.dimensions


def open_stream(served: Served) -> Any:
    """A stream that sends `open` and nothing else."""
    ended = threading.Event()

    def requests() -> Iterator[bytes]:
        yield OPEN
        ended.wait(WAIT)

    call = raw_stream(served.channel, EMBEDDING + "EmbedStream")(requests())
    call.add_callback(ended.set)
    return call


def test_memory_comes_back(tiny_checkpoint: Path) -> None:
    with (
        # Else malloc keeps what was freed for the next one, more or less of it.
        server_process(tiny_checkpoint, environ={"MALLOC_MMAP_THRESHOLD_": str(MIB)}) as server,
        grpc.insecure_channel(
            server.address, options=[("grpc.max_send_message_length", -1)]
        ) as channel,
    ):
        send_too_much(channel)
        send_bad_messages(channel)  # buffers that stay are there from here on
        before = settled(server)
        send_too_much(channel)
        for _ in range(4):
            send_bad_messages(channel)
        # 250 MiB were sent, and parsed they would take more.
        assert settled(server) <= before + 50


def send_bad_messages(channel: grpc.Channel) -> None:
    """Sends messages that are read whole, most of which are parsed."""
    batch = raw_unary(channel, EMBEDDING + "BatchEmbed")
    huge = pb.BatchEmbedRequest(inputs=[text("ab " * 5_000_000)]).SerializeToString()
    tokens = within(1, within(2, within(1, b"\x05" * (15 * MIB))))
    noise = secrets.token_bytes(15 * MIB)
    for raw in (EMPTY_INPUTS, huge, tokens, noise):
        try:
            batch(raw)
        except grpc.RpcError as error:
            assert code_of(error) is grpc.StatusCode.INVALID_ARGUMENT


def send_too_much(channel: grpc.Channel) -> None:
    """Sends calls that gRPC itself refuses."""
    batch = raw_unary(channel, EMBEDDING + "BatchEmbed")
    for metadata, compression in (
        (tuple((f"k{i}", "v") for i in range(100_000)), None),
        ((), grpc.Compression.Gzip),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            batch(bytes(30 * MIB), metadata=metadata, compression=compression)
        assert code_of(caught.value) is grpc.StatusCode.RESOURCE_EXHAUSTED


def settled(server: ServerProcess) -> float:
    """Resident MiB of the server once they no longer fall."""
    found = server.resident_mib()
    for _ in range(20):
        time.sleep(0.1)
        found = min(found, server.resident_mib())
    return found
