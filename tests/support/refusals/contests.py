"""Calls that two rows refuse: which one is met first."""

import itertools
from typing import Any

from faults.marked import marked
from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.security.tokens import make
from support.refusals.checks import (
    CROWD,
    MALFORMED,
    bearer,
    finish,
    guarded,
    refused_options,
    single,
)
from support.refusals.observed import WAIT, Refusal, refused
from support.refusals.provocations import first
from support.refusals.servers import (
    MAX_INPUTS,
    QUEUE_TOKENS,
    Servers,
    Stream,
    eventually,
    many,
    one,
)

EMBED = one(marked(0))


@first(("Metadata", "RESOURCE_EXHAUSTED"), ("Method", "UNIMPLEMENTED"))
def metadata_before_method(servers: Servers, _: str) -> Refusal:
    unknown: Any = servers.get().channel.unary_unary("/gemwire.v1.EmbeddingService/Nothing")
    return refused(unknown.future(b"", metadata=(("key", "v" * 5000),)))


@first(("Method", "UNIMPLEMENTED"), ("Token check", "MISSING_TOKEN"))
def method_before_token(servers: Servers, _: str) -> Refusal:
    return refused(guarded(servers)[0].raw("Nothing", b""))


@first(("Token check", "MISSING_TOKEN"), ("Message", "RESOURCE_EXHAUSTED"))
def token_before_size(servers: Servers, _: str) -> Refusal:
    return refused(guarded(servers)[0].raw("Embed", bytes(2 << 20)))


@first(("Token check", "MISSING_TOKEN"), ("Parser", "MALFORMED_MESSAGE"))
def token_before_parser(servers: Servers, _: str) -> Refusal:
    return refused(guarded(servers)[0].raw("Embed", MALFORMED))


@first(("Call gate", "TOO_MANY_CALLS"), ("Token check", "MISSING_TOKEN"))
def gate_before_token(servers: Servers, _: str) -> Refusal:
    _server, token = guarded(servers)
    file = servers.folder / "tokens"
    with servers.fresh("--tokens-file", str(file), "--max-concurrent-calls", "1") as server:
        stream = Stream(server.embedding, metadata=bearer(token))
        found = refused(server.embedding.Embed.future(EMBED))
        finish(stream)
        return found


@first(("Message", "RESOURCE_EXHAUSTED"), ("Call gate", "TOO_MANY_CALLS"), in_order=False)
def size_before_gate(servers: Servers, _: str) -> Refusal:
    """gRPC reads the message of a unary call before gemwire sees the call; the page says so."""
    return beside_a_stream(servers, bytes(2 << 20))


@first(("Call gate", "TOO_MANY_CALLS"), ("Parser", "MALFORMED_MESSAGE"))
def gate_before_parser(servers: Servers, _: str) -> Refusal:
    return beside_a_stream(servers, MALFORMED)


def beside_a_stream(servers: Servers, raw: bytes) -> Refusal:
    """How a call ends while another one has the server's only place."""
    server = single(servers)
    stream = Stream(server.embedding)
    found = refused(server.raw("Embed", raw))
    finish(stream)
    return found


@first(("Call gate", "DRAINING"), ("Call gate", "TOO_MANY_CALLS"))
def drain_before_limit(servers: Servers, _: str) -> Refusal:
    with servers.fresh("--max-concurrent-calls", "1") as server:
        with server.process.controls.held():
            stream = Stream(server.embedding)
            stream.batch(marked(0))
            server.process.terminate()
            assert next(stream.call).HasField("go_away")
            found = refused(server.embedding.Embed.future(EMBED))
        finish(stream)
        return found


@first(("Parser", "TOO_MANY_INPUTS"), ("Parser", "MALFORMED_MESSAGE"))
def crowd_before_malformed(servers: Servers, _: str) -> Refusal:
    return refused(servers.get().raw("BatchEmbed", CROWD + MALFORMED))


@first(("Parser", "MALFORMED_MESSAGE"), ("Options", "UNSUPPORTED_DIMENSION"))
def parser_before_options(servers: Servers, _: str) -> Refusal:
    bad = one(marked(0), output_dimensionality=7).SerializeToString()
    return refused(servers.get().raw("Embed", bad + MALFORMED))


# In the order of the table: each is refused before the next one.
OPTIONS: dict[str, dict[str, Any]] = {
    "MODEL_NOT_FOUND": {"model": "models/other"},
    "UNKNOWN_TRUNCATION": {"truncation": 99},
    "UNKNOWN_ENCODING": {"encoding": 99},
    "UNKNOWN_TASK": {"task": 99},
    "UNSUPPORTED_DIMENSION": {"output_dimensionality": 7},
    "UNSUPPORTED_PRIORITY": {"priority": 11},
    "UNKNOWN_PROMPT": {"prompt_name": "other"},
}


def _one_before_another(winner: str, loser: str) -> None:
    def contest(servers: Servers, _: str) -> Refusal:
        return refused_options(servers, **OPTIONS[winner], **OPTIONS[loser])

    contest.__name__ = f"{winner.lower()}_before_{loser.lower()}"
    first(("Options", winner), ("Options", loser))(contest)


for _winner, _loser in itertools.pairwise(OPTIONS):
    _one_before_another(_winner, _loser)


@first(("Options", "UNKNOWN_PROMPT"), ("Number of inputs", "TOO_MANY_INPUTS"))
def options_before_number(servers: Servers, _: str) -> Refusal:
    texts = [marked(0)] * (MAX_INPUTS + 1)
    request = many(*texts, prompt_name="other")
    return refused(servers.get().embedding.BatchEmbed.future(request))


@first(("Options", "UNSUPPORTED_DIMENSION"), ("ComputeSimilarity", "DIMENSIONS_DIFFER"))
def options_before_similarity(servers: Servers, _: str) -> Refusal:
    request = pb.ComputeSimilarityRequest(options=pb.EmbedOptions(output_dimensionality=7))
    return refused(servers.get().embedding.ComputeSimilarity.future(request))


@first(("Number of inputs", "TOO_MANY_INPUTS"), ("Size of the answer", "RESPONSE_TOO_LARGE"))
def number_before_size(servers: Servers, _: str) -> Refusal:
    texts = [marked(0)] * (MAX_INPUTS + 1)  # fewer are refused for the answer's size
    return refused(servers.get().embedding.BatchEmbed.future(many(*texts)))


@first(("Size of the answer", "RESPONSE_TOO_LARGE"), ("Quota", "QUOTA_EXCEEDED"))
def size_before_quota(servers: Servers, _: str) -> Refusal:
    server, token = guarded(servers)
    spend(servers)
    texts = [marked(0)] * MAX_INPUTS
    return refused(server.embedding.BatchEmbed.future(many(*texts), metadata=bearer(token)))


def spend(servers: Servers) -> None:
    server, token = guarded(servers)
    call = server.embedding.Embed.future(one(marked(0, 500)), metadata=bearer(token))
    call.exception(timeout=WAIT)


@first(("Quota", "QUOTA_EXCEEDED"), ("Admission", "QUEUE_FULL"))
def quota_before_queue(servers: Servers, _: str) -> Refusal:
    file = servers.folder / "two tokens"
    (poor, line), (rich, other) = make("poor", 1, 1), make("rich")
    file.write_text(f"{line}\n{other}\n")
    with servers.fresh("--tokens-file", str(file)) as server:
        server.embedding.Embed(one(marked(0, 500)), metadata=bearer(poor))
        by_rich: Any = {"metadata": bearer(rich)}
        with server.process.controls.held():
            calls = [server.embedding.Embed.future(EMBED, **by_rich)]
            eventually(lambda: server.metric("gemwire_engine_texts") == 1, "no text was taken")
            eventually(lambda: not server.metric("gemwire_queue_tokens"), "no step began")
            calls.append(server.embedding.Embed.future(one(marked(1, QUEUE_TOKENS)), **by_rich))
            eventually(lambda: server.metric("gemwire_queue_tokens") == QUEUE_TOKENS, "not full")
            assert refused(server.embedding.Embed.future(EMBED, **by_rich)).reason == "QUEUE_FULL"
            found = refused(server.embedding.Embed.future(EMBED, metadata=bearer(poor)))
        assert all(call.exception(timeout=WAIT) is None for call in calls)
        return found


@first(("Admission", "QUEUE_FULL"), ("Admission", "CALLER_QUEUE_FULL"))
def queue_before_share(servers: Servers, _: str) -> Refusal:
    server = servers.get()
    with server.busy(waiting=700):
        return refused(server.embedding.Embed.future(one(marked(2, 301))))


@first(("Admission", "QUEUE_FULL"), ("Queue", "REQUEST_TOO_LARGE"))
def admission_before_queue(servers: Servers, _: str) -> Refusal:
    server = servers.get()
    with server.busy(waiting=700), server.connection() as other:
        return refused(other.Embed.future(one(marked(2, QUEUE_TOKENS + 1))))
