"""What gemwire refuses for want of room, of time or of an engine."""

import os
import signal
import time

from faults.marked import Fault, marked
from gemwire.v1 import embedding_pb2 as pb
from support.refusals.observed import Refusal, refused
from support.refusals.provocations import BOTH, whole_call
from support.refusals.servers import (
    QUEUE_TOKENS,
    STEP_TOKENS,
    Server,
    Servers,
    eventually,
    many,
    one,
)

SLOW = {"token_seconds": 0.1}
"""A step takes 1.6 s."""


def learn_rate(server: Server) -> None:
    """The server knows how fast its device is once a step was at least half full."""
    server.embedding.Embed(one(marked(0, STEP_TOKENS)))
    eventually(lambda: server.metric("gemwire_engine_tokens_per_second") > 0, "no rate is known")


@whole_call("Admission", "DRAINING")
def a_call_after_the_device_was_lost(servers: Servers, engine: str) -> Refusal:
    """An engine in the server's own process does not come back."""
    with servers.fresh(engine=engine) as server:
        refused(server.embedding.Embed.future(one(marked(0, fault=Fault.LOST))))
        return refused(server.embedding.Embed.future(one(marked(1))))


@whole_call("Admission", "ENGINE_RESTARTING", ("process",))
def a_call_while_no_engine_serves(servers: Servers, engine: str) -> Refusal:
    with servers.fresh(engine=engine) as server:
        server.process.controls.set(load_seconds=600)  # the next engine is not ready before
        os.kill(server.process.engine_pid(), signal.SIGKILL)
        eventually(lambda: not server.metric("gemwire_engines_serving"), "nobody saw it end")
        return refused(server.embedding.Embed.future(one(marked(1))))


@whole_call("Admission", "QUEUE_FULL", BOTH)
def a_full_queue(servers: Servers, engine: str) -> Refusal:
    server = servers.get(engine=engine)
    with server.busy(waiting=700), server.connection() as other:
        return refused(other.Embed.future(one(marked(2, 301))))


@whole_call("Admission", "QUEUE_FULL", BOTH)
def a_text_of_more_tokens_than_were_guessed(servers: Servers, engine: str) -> Refusal:
    """The estimate, a token for four characters, lets the text pass; the count of its tokens does not."""
    server = servers.get(engine=engine)
    text = pb.EmbedInput(text="7 " * 150)
    count = len(server.embedding.Tokenize(pb.TokenizeRequest(input=text)).ids)
    assert count > 200 > 300 // 4
    with server.busy(waiting=QUEUE_TOKENS - 200), server.connection() as other:
        return refused(other.Embed.future(one(text)))


@whole_call("Admission", "CALLER_QUEUE_FULL", BOTH)
def more_than_a_callers_share(servers: Servers, engine: str) -> Refusal:
    server = servers.get(engine=engine)
    with server.connection() as other:
        with server.busy(waiting=700):
            found = refused(server.embedding.Embed.future(one(marked(2, 150))))
            answered = other.Embed.future(one(marked(3, 150)))  # another caller has room
            eventually(lambda: server.metric("gemwire_queue_tokens") == 850, "it found no room")
        assert answered.result().embedding.dimensions
    return found


@whole_call("Admission", "DEADLINE_UNREACHABLE", BOTH)
def a_deadline_that_the_queue_cannot_meet(servers: Servers, engine: str) -> Refusal:
    with servers.fresh(engine=engine, settings=SLOW) as server:
        learn_rate(server)
        with server.busy(waiting=600):  # a minute's worth
            call = server.embedding.Embed.future(one(marked(2)), timeout=20)
            found = refused(call)
            server.process.controls.set(token_seconds=0.0)
        return found


@whole_call("Queue", "REQUEST_TOO_LARGE", BOTH)
def more_than_the_queue_takes(servers: Servers, engine: str) -> Refusal:
    server = servers.get(engine=engine)
    return refused(server.embedding.BatchEmbed.future(many(marked(0, QUEUE_TOKENS), marked(1))))


@whole_call("Deadline", "DEADLINE_EXCEEDED", BOTH)
def the_servers_own_deadline(servers: Servers, engine: str) -> Refusal:
    with servers.fresh("--call-seconds", "0.3", engine=engine) as server:
        with server.process.controls.held():
            return refused(server.embedding.Embed.future(one(marked(0))))


@whole_call("Deadline", "DEADLINE_EXCEEDED", BOTH)
def a_deadline_that_passes_in_the_queue(servers: Servers, engine: str) -> Refusal:
    """A text that the next step would compute too late is dropped before its deadline."""
    with servers.fresh(engine=engine, settings=SLOW) as server:
        learn_rate(server)
        with server.connection() as other:
            with server.busy():
                sent = time.monotonic()
                late = server.embedding.Embed.future(one(marked(1, STEP_TOKENS)), timeout=4)
                behind = other.Embed.future(one(marked(2, STEP_TOKENS)))
                waiting = 2 * STEP_TOKENS
                eventually(lambda: server.metric("gemwire_queue_tokens") == waiting, "none waits")
                # Half-way between the last moment to begin its step and its deadline.
                step_seconds = STEP_TOKENS * SLOW["token_seconds"]
                time.sleep(max(0.0, sent + 4 - step_seconds / 2 - time.monotonic()))
                server.process.controls.set(token_seconds=0.0)
            found = refused(late)
            assert behind.result().embedding.dimensions
        return found


@whole_call("Drain", "DRAINING", BOTH)
def a_text_that_waits_when_the_drain_ends(servers: Servers, engine: str) -> Refusal:
    with servers.fresh("--drain-seconds", "0", engine=engine) as server:
        with server.busy(waiting=8) as waiting:
            server.process.terminate()
            return refused(waiting)


@whole_call("Engine", "ENGINE_RESTARTING", ("process",))
def a_text_whose_engine_ends(servers: Servers, engine: str) -> Refusal:
    with servers.fresh(engine=engine) as server:
        return refused(server.embedding.Embed.future(one(marked(0, fault=Fault.EXIT))))


@whole_call("Size of the answer, once made", "RESPONSE_TOO_LARGE")
def tokens_that_are_too_many_to_send(servers: Servers, _: str) -> Refusal:
    ids = pb.TokenIds(ids=[300] * 8000, complete=True)
    request = pb.TokenizeRequest(input=pb.EmbedInput(tokens=ids), include_pieces=True)
    return refused(servers.get().embedding.Tokenize.future(request))


@whole_call("Anywhere", "INTERNAL")
def a_bug(servers: Servers, _: str) -> Refusal:
    return refused(servers.get().embedding.Embed.future(one(marked(0, fault=Fault.NARROW))))
