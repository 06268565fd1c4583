"""What gemwire refuses before it does any work: tokens, the gate, and the request's own fields."""

from typing import Any

import grpc

from faults.marked import marked
from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.security.tokens import make
from support.certificates import replace
from support.refusals.observed import WAIT, Refusal, refused, refused_stream
from support.refusals.provocations import BOTH, whole_call
from support.refusals.servers import MAX_INPUTS, Server, Servers, Stream, eventually, many, one

EMBED = one(marked(0))
# Empty inputs, more than 64 KiB of them: so many are counted before they are parsed.
CROWD = b"\x0a\x00" * 40_000
MALFORMED = b"\xff"


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def guarded(servers: Servers) -> tuple[Server, str]:
    """A server that asks for tokens, and a token with a quota of one model token a second."""
    file = servers.folder / "tokens"
    if not file.exists():
        token, line = make("poor", 1, 1)
        file.write_text(f"{line}\n")
        (servers.folder / "token").write_text(token)
    return servers.get("--tokens-file", str(file)), (servers.folder / "token").read_text()


def single(servers: Servers) -> Server:
    """A server that takes one call at a time."""
    return servers.get("--max-concurrent-calls", "1")


@whole_call("Token check", "MISSING_TOKEN")
def no_token(servers: Servers, _: str) -> Refusal:
    return refused(guarded(servers)[0].embedding.Embed.future(EMBED))


@whole_call("Token check", "WRONG_TOKEN")
def wrong_token(servers: Servers, _: str) -> Refusal:
    server, _token = guarded(servers)
    return refused(server.embedding.Embed.future(EMBED, metadata=bearer("wrong")))


@whole_call("Call gate", "DRAINING", BOTH)
def a_call_to_a_draining_server(servers: Servers, engine: str) -> Refusal:
    with servers.fresh(engine=engine) as server, server.busy():
        stream = Stream(server.embedding)
        server.process.terminate()
        assert next(stream.call).HasField("go_away")
        found = refused(server.embedding.Embed.future(EMBED))
        stream.send(None)
        return found


@whole_call("Call gate", "TOO_MANY_CALLS")
def one_call_over_the_servers_limit(servers: Servers, _: str) -> Refusal:
    server = single(servers)
    stream = Stream(server.embedding)
    found = refused(server.embedding.Embed.future(EMBED))
    finish(stream)
    return found


def finish(stream: Stream) -> None:
    """Half-closes, and reads to the end."""
    stream.send(None)
    assert [message for message in stream.call if message.HasField("go_away")] == []


@whole_call("Parser", "TOO_MANY_INPUTS")
def a_crowd_of_inputs(servers: Servers, _: str) -> Refusal:
    return refused(servers.get().raw("BatchEmbed", CROWD))


@whole_call("Parser", "TOO_MANY_INPUTS")
def a_crowd_of_inputs_in_a_stream(servers: Servers, _: str) -> Refusal:
    crowd = b"\x12\x00" * 40_000
    opening = pb.EmbedStreamRequest(open=pb.StreamOpen()).SerializeToString()
    size = len(crowd)
    raw = b"\x12" + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + crowd
    method: Any = servers.get().channel.stream_stream("/gemwire.v1.EmbeddingService/EmbedStream")
    return refused_stream(method(iter([opening, raw])))


@whole_call("Parser", "MALFORMED_MESSAGE")
def no_message(servers: Servers, _: str) -> Refusal:
    return refused(servers.get().raw("Embed", MALFORMED))


@whole_call("Parser", "MALFORMED_MESSAGE")
def half_a_surrogate_pair(servers: Servers, _: str) -> Refusal:
    """The reason that INVALID_TEXT is not met over gRPC."""
    return refused(servers.get().raw("Embed", b"\x0a\x05\x0a\x03\xed\xa0\x80"))


@whole_call("Stream", "STREAM_NOT_OPEN")
def a_stream_that_begins_with_a_batch(servers: Servers, _: str) -> Refusal:
    stream = Stream(servers.get().embedding, opened=False)
    stream.batch(marked(0))
    return refused_stream(stream.call)


@whole_call("Stream", "DRAINING", BOTH)
def a_stream_without_a_message_while_draining(servers: Servers, engine: str) -> Refusal:
    with servers.fresh(engine=engine) as server, server.busy():
        started = server.metric("gemwire_calls_started_total")
        stream = Stream(server.embedding, opened=False)
        name = "gemwire_calls_started_total"
        eventually(lambda: server.metric(name) > started, "the stream did not arrive")
        server.process.terminate()
        return refused_stream(stream.call)


@whole_call("Stream", "DRAINING", BOTH)
def a_stream_that_stays_after_go_away(servers: Servers, engine: str) -> Refusal:
    with servers.fresh(engine=engine) as server, server.busy():
        stream = Stream(server.embedding)
        server.process.terminate()
        assert next(stream.call).HasField("go_away")
        return refused_stream(stream.call)


def refused_options(servers: Servers, **options: Any) -> Refusal:
    return refused(servers.get().embedding.Embed.future(one(marked(0), **options)))


@whole_call("Options", "MODEL_NOT_FOUND")
def another_model(servers: Servers, _: str) -> Refusal:
    return refused_options(servers, model="models/other")


@whole_call("Options", "MODEL_NOT_FOUND")
def get_another_model(servers: Servers, _: str) -> Refusal:
    return refused(servers.get().model.GetModel.future(pb.GetModelRequest(name="models/other")))


@whole_call("Options", "UNSUPPORTED_DIMENSION")
def another_size(servers: Servers, _: str) -> Refusal:
    return refused_options(servers, output_dimensionality=7)


@whole_call("Options", "UNKNOWN_TRUNCATION")
def another_truncation(servers: Servers, _: str) -> Refusal:
    return refused_options(servers, truncation=99)


@whole_call("Options", "UNKNOWN_ENCODING")
def another_encoding(servers: Servers, _: str) -> Refusal:
    return refused_options(servers, encoding=99)


@whole_call("Options", "UNSUPPORTED_PRIORITY")
def too_high_a_priority(servers: Servers, _: str) -> Refusal:
    return refused_options(servers, priority=11)


@whole_call("Options", "UNKNOWN_PROMPT")
def another_prompt(servers: Servers, _: str) -> Refusal:
    return refused_options(servers, prompt_name="other")


@whole_call("Options", "PROMPT_TOO_LONG")
def a_long_prompt(servers: Servers, _: str) -> Refusal:
    return refused_options(servers, prompt_text="p" * 4097)


@whole_call("Options", "UNKNOWN_TASK")
def another_task(servers: Servers, _: str) -> Refusal:
    return refused_options(servers, task=99)


@whole_call("ListModels", "UNKNOWN_PAGE_TOKEN")
def another_page(servers: Servers, _: str) -> Refusal:
    return refused(servers.get().model.ListModels.future(pb.ListModelsRequest(page_token="a")))


@whole_call("ListModels", "NEGATIVE_PAGE_SIZE")
def a_page_of_less_than_nothing(servers: Servers, _: str) -> Refusal:
    return refused(servers.get().model.ListModels.future(pb.ListModelsRequest(page_size=-1)))


@whole_call("ComputeSimilarity", "DIMENSIONS_DIFFER")
def two_sizes(servers: Servers, _: str) -> Refusal:
    sizes = servers.get().model.GetModel(pb.GetModelRequest()).model.supported_dimensions
    request = pb.ComputeSimilarityRequest(
        source=marked(0),
        targets=[marked(1)],
        options=pb.EmbedOptions(output_dimensionality=sizes[0]),
        target_options=pb.EmbedOptions(output_dimensionality=sizes[1]),
    )
    return refused(servers.get().embedding.ComputeSimilarity.future(request))


@whole_call("Stream message", "TOKEN_REVOKED")
def a_token_that_is_removed(servers: Servers, _: str) -> Refusal:
    file = servers.folder / "revoked"
    token, line = make("leaving")
    file.write_text(f"{line}\n")
    with servers.fresh("--tokens-file", str(file)) as server:
        stream = Stream(server.embedding, metadata=bearer(token))
        replace(file, (make("other")[1] + "\n").encode())
        for _attempt in range(int(WAIT / 0.01)):  # the file is looked at once a second
            stream.batch(marked(0))
            try:
                assert stream.results()
            except grpc.RpcError:
                return refused_stream(stream.call)
    raise AssertionError("the token is still good")


@whole_call("Stream message", "STREAM_ALREADY_OPEN")
def a_stream_that_is_opened_twice(servers: Servers, _: str) -> Refusal:
    stream = Stream(servers.get().embedding)
    stream.send(pb.EmbedStreamRequest(open=pb.StreamOpen()))
    return refused_stream(stream.call)


@whole_call("Number of inputs", "TOO_MANY_INPUTS")
def one_input_too_many(servers: Servers, _: str) -> Refusal:
    texts = [marked(n) for n in range(MAX_INPUTS + 1)]
    return refused(servers.get().embedding.BatchEmbed.future(many(*texts)))


@whole_call("Size of the answer", "RESPONSE_TOO_LARGE")
def an_answer_that_is_too_large(servers: Servers, _: str) -> Refusal:
    texts = [marked(n) for n in range(MAX_INPUTS)]
    return refused(servers.get().embedding.BatchEmbed.future(many(*texts)))


@whole_call("Quota", "QUOTA_EXCEEDED")
def a_quota_that_is_used_up(servers: Servers, _: str) -> Refusal:
    server, token = guarded(servers)
    spend = server.embedding.Embed.future(one(marked(0, 500)), metadata=bearer(token))
    spend.exception(timeout=WAIT)  # the first such call passes and leaves a debt of minutes
    return refused(server.embedding.Embed.future(EMBED, metadata=bearer(token)))
