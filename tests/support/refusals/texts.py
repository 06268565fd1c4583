"""What gemwire refuses of one text, while the others of the call or stream are answered."""

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc

from faults.marked import Fault, marked
from gemwire.v1 import embedding_pb2 as pb
from support.refusals.observed import Refusal, of_texts
from support.refusals.provocations import BOTH, one_text
from support.refusals.servers import (
    QUEUE_TOKENS,
    STEP_TOKENS,
    Server,
    Servers,
    Stream,
    eventually,
    many,
)
from support.refusals.work import SLOW, learn_rate

GOOD = marked(7)


Ask = Callable[..., Any]
"""A call for texts and options, as a future: its answer has a result for each text."""


def of_batch(server: Server, *texts: pb.EmbedInput, timeout: float | None = None, **of: Any) -> Any:
    return server.embedding.BatchEmbed.future(many(*texts, **of), timeout=timeout)


def of_similarity(
    server: Server, *texts: pb.EmbedInput, timeout: float | None = None, **of: Any
) -> Any:
    """The texts are targets."""
    request = pb.ComputeSimilarityRequest(source=GOOD, targets=texts, options=pb.EmbedOptions(**of))
    return server.embedding.ComputeSimilarity.future(request, timeout=timeout)


def one_of_many(
    where: str, name: str, engines: tuple[str, ...] = ("thread",)
) -> Callable[[Callable[[Servers, str, Ask], Refusal]], None]:
    """Registers provocations of a row of the second table: by a text of BatchEmbed, and by a target."""

    def registered(provoke: Callable[[Servers, str, Ask], Refusal]) -> None:
        for ask in (of_batch, of_similarity):

            def asked(servers: Servers, engine: str, ask: Ask = ask) -> Refusal:
                return provoke(servers, engine, ask)

            asked.__name__ = f"{provoke.__name__}-{ask.__name__}"
            one_text(where, name, engines)(asked)

    return registered


def second_text(server: Server, ask: Ask, text: pb.EmbedInput, **options: Any) -> Refusal:
    """The refusal of a text behind one that is answered."""
    return second(ask(server, GOOD, text, **options).result())


def second(answer: pb.BatchEmbedResponse | pb.ComputeSimilarityResponse) -> Refusal:
    """The refusal of the second text. The page's fields are those of BatchEmbed."""
    answered, refusal = of_texts(answer.results)
    assert answered is None and refusal is not None
    if isinstance(answer, pb.BatchEmbedResponse):
        return refusal
    assert not any("inputs" in detail for detail in refusal.details)
    details = frozenset(each.replace(" targets[", " inputs[") for each in refusal.details)
    return replace(refusal, details=details)


def refused_in_stream(server: Server, text: pb.EmbedInput) -> Refusal:
    """The refusal of a text in a stream, which goes on."""
    stream = Stream(server.embedding)
    stream.batch(text)
    (refusal,) = of_texts(stream.results())
    assert refusal is not None
    stream.batch(GOOD)
    assert of_texts(stream.results()) == [None]
    stream.send(None)
    assert list(stream.call) == []
    return refusal


@one_of_many("Prompt", "TITLE_WITHOUT_DOCUMENT")
def a_title_without_a_document(servers: Servers, _: str, ask: Ask) -> Refusal:
    return second_text(servers.get(), ask, pb.EmbedInput(text="a", title="b"))


@one_of_many("Tokenizer", "EMPTY_TEXT")
def an_empty_text(servers: Servers, _: str, ask: Ask) -> Refusal:
    return second_text(servers.get(), ask, pb.EmbedInput(text=""))


@one_of_many("Tokenizer", "EMPTY_TEXT")
def no_text_at_all(servers: Servers, _: str, ask: Ask) -> Refusal:
    return second_text(servers.get(), ask, pb.EmbedInput())


@one_of_many("Tokenizer", "EMPTY_TEXT")
def no_token_at_all(servers: Servers, _: str, ask: Ask) -> Refusal:
    empty = pb.TokenIds(complete=True)
    return second_text(servers.get(), ask, pb.EmbedInput(tokens=empty))


@one_of_many("Tokenizer", "PROMPT_TOO_LONG")
def a_prompt_that_fills_the_window(servers: Servers, _: str, ask: Ask) -> Refusal:
    """Ids that are complete take no prompt, so that the text before it is answered."""
    prompt = "7 " * 2048
    return second_text(servers.get(), ask, pb.EmbedInput(text="a"), prompt_text=prompt)


@one_of_many("Tokenizer", "TEXT_TOO_LONG")
def a_text_over_the_window(servers: Servers, _: str, ask: Ask) -> Refusal:
    return second_text(servers.get(), ask, pb.EmbedInput(text="7 " * 3000))


@one_of_many("Tokenizer", "TOKEN_ID_OUT_OF_RANGE")
def an_id_that_the_vocabulary_lacks(servers: Servers, _: str, ask: Ask) -> Refusal:
    ids = pb.TokenIds(ids=[2048], complete=True)
    return second_text(servers.get(), ask, pb.EmbedInput(tokens=ids))


@one_text("Queue", "REQUEST_TOO_LARGE", BOTH)
def a_text_of_a_stream_that_no_queue_takes(servers: Servers, engine: str) -> Refusal:
    return refused_in_stream(servers.get(engine=engine), marked(0, QUEUE_TOKENS + 1))


@one_of_many("Quarantine", "POISON_INPUT", ("process",))
def a_text_that_has_ended_two_engines(servers: Servers, engine: str, ask: Ask) -> Refusal:
    poison = marked(0, fault=Fault.EXIT)
    found: list[Refusal | None] = []

    def is_answered() -> bool:
        with contextlib.suppress(grpc.RpcError):  # the engine is restarted
            found[:] = of_texts(ask(server, GOOD, poison).result().results)
        return any(one is not None and one.code != "UNAVAILABLE" for one in found)

    with servers.fresh(engine=engine) as server:
        eventually(is_answered, "the text ends one engine after the other")
        return second_text(server, ask, poison)


@one_of_many("Queue", "DEADLINE_EXCEEDED", BOTH)
def the_second_text_would_be_too_late(servers: Servers, engine: str, ask: Ask) -> Refusal:
    """The second step would end after the deadline, and a stream waits for the device too."""
    with servers.fresh(engine=engine, settings=SLOW) as server:
        learn_rate(server)
        first, late = marked(1, STEP_TOKENS), marked(2, STEP_TOKENS)
        call = ask(server, first, late, priority=10, timeout=2.8)
        eventually(lambda: server.metric("gemwire_queue_tokens") == STEP_TOKENS, "none waits")
        stream = Stream(server.embedding)
        stream.batch(marked(3, STEP_TOKENS))
        return second(call.result())


@one_text("Stream after go_away", "DRAINING", BOTH)
def a_text_sent_after_go_away(servers: Servers, engine: str) -> Refusal:
    with servers.fresh(engine=engine) as server, server.busy():
        stream = Stream(server.embedding)
        server.process.terminate()
        assert next(stream.call).HasField("go_away")
        stream.batch(GOOD)
        (refusal,) = of_texts(stream.results())
        stream.send(None)
        assert list(stream.call) == [] and refusal is not None
        return refusal


@one_of_many("Engine", "ENGINE_RESTARTING", ("process",))
def a_text_that_was_computed_when_the_engine_ended(
    servers: Servers, engine: str, ask: Ask
) -> Refusal:
    with servers.fresh(engine=engine) as server:
        hanging = marked(9, STEP_TOKENS, Fault.HANG)  # in a step of its own
        call = ask(server, GOOD, hanging)
        computed = server.process.controls.computed_texts
        eventually(lambda: 9 in computed(), "the second text is not computed")
        os.kill(server.process.engine_pid(), signal.SIGKILL)
        return second(call.result())


@one_of_many("Engine", "POISON_INPUT", BOTH)
def a_text_that_fails_its_step(servers: Servers, engine: str, ask: Ask) -> Refusal:
    return second_text(servers.get(engine=engine), ask, marked(0, fault=Fault.RAISE))


@one_of_many("Engine", "POISON_INPUT", BOTH)
def a_text_without_a_finite_vector(servers: Servers, engine: str, ask: Ask) -> Refusal:
    return second_text(servers.get(engine=engine), ask, marked(0, fault=Fault.NAN))


@one_of_many("Engine", "DEVICE_LOST")
def a_text_that_takes_the_device_with_it(servers: Servers, engine: str, ask: Ask) -> Refusal:
    with servers.fresh(engine=engine) as server:
        return second_text(server, ask, marked(0, STEP_TOKENS, Fault.LOST))
