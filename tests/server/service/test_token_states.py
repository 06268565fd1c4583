"""The service's raw vectors and states of tokens: right, bounded, and cancelled and refused as others."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.engine.interface import Engine, Output
from gemwire_server.engine.packing import pack
from gemwire_server.engine.thread_engine import ThreadEngine
from gemwire_server.errors import InvalidInput, Overloaded
from gemwire_server.runners.cpu import CpuRunner
from gemwire_server.security.quota import Bucket
from gemwire_server.security.tokens import Grant
from gemwire_server.service.call import Call, Caller
from gemwire_server.service.requests import EmbedOptions, Input, Task
from gemwire_server.service.results import TokenResults
from gemwire_server.service.service import Service
from gemwire_server.service.token_states import MAX_TEXTS_AT_ONCE
from gemwire_server.service.vectors import cut
from gemwire_server.text.tokenizer import Encoded, Truncation
from support.held_device import HeldDevice
from support.loopback import LoopbackEngine
from support.services import METHOD, a_call, service_of

TEXTS = ["What is gravity?", "a", "The quick brown fox. " * 40]
HIDDEN = 96
ENGINES = pytest.mark.parametrize("make", [ThreadEngine, LoopbackEngine], ids=["thread", "process"])


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldDevice:
    return HeldDevice(monkeypatch)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.002)


@ENGINES
def test_all_outputs_at_once_are_the_runners(
    make: Callable[..., Engine], tiny_checkpoint: Path
) -> None:
    """Three calls at once, against the runner, given the tokenizer's ids a text at a time."""

    async def vectors(service: Service, output: Output) -> np.ndarray:
        call = a_call()
        async with service.call(call):
            options = service.check(
                EmbedOptions(
                    prompt=Task("retrieval_query"), output=output, dimensions=50, any_size=True
                )
            )
            results, _ = await service.embed([Input(text) for text in TEXTS], options, call)
            results.raise_first_error()
        return cut(results.vectors, options.vectors)

    async def states(service: Service) -> list[np.ndarray | None]:
        call = a_call()
        async with service.call(call):
            options = service.check(EmbedOptions(prompt=Task("retrieval_query")))
            inputs = [Input(text) for text in (*TEXTS, "")]
            results, timing = await service.embed_tokens(inputs, options, call)
        assert sorted(results.errors) == [3] and results.rows[3] is None
        assert getattr(results.errors[3], "field", "") == "inputs[3].text"
        with pytest.raises(InvalidInput):
            results.raise_first_error()
        lengths = [len(rows) for rows in results.rows if rows is not None]
        assert results.token_counts.tolist() == [*lengths, 0]
        assert timing.total_seconds >= timing.compute_seconds > 0
        assert call.texts == 4 and call.tokens == sum(lengths)
        return results.rows[:3]

    async def main() -> tuple[np.ndarray, np.ndarray, list[np.ndarray | None], str]:
        async with service_of(tiny_checkpoint, make=make) as service:
            units, raw, rows = await asyncio.gather(
                vectors(service, Output.UNIT), vectors(service, Output.RAW), states(service)
            )
            return units, raw, rows, service.model.prompts.for_task("retrieval_query")

    units, raw, rows, prompt = asyncio.run(main())
    checkpoint = open_checkpoint(str(tiny_checkpoint))
    tokenizer = checkpoint.load_tokenizer()
    runner = CpuRunner.load(checkpoint, dtype="float32", threads=0)
    for i, text in enumerate(TEXTS):
        batch = pack([tokenizer.encode(text, prompt=prompt).ids])
        expected = runner.run(batch, Output.RAW)[0, :50]
        np.testing.assert_allclose(raw[i], expected, atol=1e-5)
        np.testing.assert_allclose(units[i], expected / np.linalg.norm(expected), atol=2e-6)
        found = rows[i]
        assert found is not None
        np.testing.assert_allclose(found, runner.run(batch, Output.TOKENS), atol=5e-5)


def test_a_cut_text_has_the_rows_of_what_the_model_saw(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with service_of(tiny_checkpoint, max_response_bytes=1 << 21) as service:
            options = service.check(EmbedOptions(truncation=Truncation.END))
            results, _ = await service.embed_tokens([Input("red " * 3000)], options, a_call())
            assert results.truncated.tolist() == [True] and not results.errors
            assert results.rows[0] is not None and results.rows[0].shape == (2048, HIDDEN)

    asyncio.run(main())


def test_cosines_are_those_of_unit_vectors(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with service_of(tiny_checkpoint) as service:
            unit, raw = (
                service.check(EmbedOptions(output=each)) for each in (Output.UNIT, Output.RAW)
            )
            targets = [Input("a"), Input("b c")]
            expected, _ = await service.similarity(Input("x"), targets, (unit, unit), a_call())
            found, _ = await service.similarity(Input("x"), targets, (raw, raw), a_call())
            np.testing.assert_array_equal(found.scores, expected.scores)

    asyncio.run(main())


def test_more_rows_than_an_answer_may_have_are_refused_first(
    held: HeldDevice, tiny_checkpoint: Path
) -> None:
    limit = 65536
    most = limit // (4 * HIDDEN)  # tokens

    async def main() -> None:
        async with service_of(tiny_checkpoint, max_response_bytes=limit) as service:
            options = service.check(EmbedOptions())
            fits = [
                Input(ids=[5] * (most - 100), complete=True),
                Input(ids=[5] * 100, complete=True),
            ]
            results, _ = await service.embed_tokens(fits, options, a_call())
            assert not results.errors
            before = held.computed_texts
            call = a_call()
            call.grant = Grant("me", Bucket("me", 1.0, 1000.0), lambda: True)
            with pytest.raises(InvalidInput) as refused:
                await service.embed_tokens(
                    [*fits, Input(ids=[5], complete=True)], options, call, field="texts"
                )
            assert held.computed_texts == before
            assert call.grant.bucket is not None and call.grant.bucket._level > 999
            assert (refused.value.reason, refused.value.field) == ("RESPONSE_TOO_LARGE", "texts")
            assert "--max-response-bytes" in refused.value.message
            assert refused.value.metadata == {"tokens": str(most + 1), "limit": str(limit)}

    asyncio.run(main())


@ENGINES
def test_few_texts_are_in_the_engine_at_once_and_calls_take_turns(
    make: Callable[..., Engine], held: HeldDevice, tiny_checkpoint: Path
) -> None:
    async def main() -> None:
        async with service_of(tiny_checkpoint, make=make) as service:
            options = service.check(EmbedOptions())
            engine = service.embedder.engine
            ended: list[str] = []

            async def ask(name: str, texts: int) -> None:
                inputs = [Input(ids=[7] * 10, complete=True)] * texts
                results, _ = await service.embed_tokens(inputs, options, a_call())
                assert not results.errors and all(rows is not None for rows in results.rows)
                ended.append(name)

            held.hold()
            first = asyncio.create_task(service.embed([Input("a")], options, a_call()))
            await until(lambda: held._running)
            many = asyncio.create_task(ask("many", 40))
            await until(lambda: engine.state().queued_tokens == 10 * MAX_TEXTS_AT_ONCE)
            few = asyncio.create_task(ask("few", 2))
            await asyncio.sleep(0.05)
            assert engine.state().queued_tokens == 10 * MAX_TEXTS_AT_ONCE
            held.release()
            await asyncio.gather(first, many, few)
            assert ended == ["few", "many"] and held.largest_batch <= MAX_TEXTS_AT_ONCE

    asyncio.run(main())


def test_a_callers_many_calls_do_not_keep_others_out(
    held: HeldDevice, tiny_checkpoint: Path
) -> None:
    """Callers take turns, not calls: with a thousand calls open the last would wait for all of them."""

    async def main() -> None:
        async with service_of(tiny_checkpoint) as service:
            options = service.check(EmbedOptions())
            ended: list[str] = []

            async def ask(name: str) -> None:
                inputs = [Input(ids=[7] * 10, complete=True)] * 2
                call = Call(METHOD, Caller.named(name))
                results, _ = await service.embed_tokens(inputs, options, call)
                assert not results.errors
                ended.append(name)

            held.hold()
            first = asyncio.create_task(service.embed([Input("a")], options, a_call()))
            await until(lambda: held._running)
            asked = [asyncio.create_task(ask("many")) for _ in range(100)]
            await asyncio.sleep(0.05)
            asked.append(asyncio.create_task(ask("one")))
            await asyncio.sleep(0.05)
            held.release()
            await asyncio.gather(first, *asked)
            assert ended.index("one") <= 2 * MAX_TEXTS_AT_ONCE

    asyncio.run(main())


@ENGINES
def test_a_cancelled_call_leaves_nothing_behind(
    make: Callable[..., Engine], held: HeldDevice, tiny_checkpoint: Path
) -> None:
    """Neither in the queue nor in the slots, whenever it is cancelled."""

    async def main() -> None:
        async with service_of(tiny_checkpoint, make=make) as service:
            options = service.check(EmbedOptions())
            engine = service.embedder.engine
            inputs = [Input(ids=[7] * 10, complete=True)] * 20
            warmed_up = held.computed_texts
            held.hold()
            first = asyncio.create_task(service.embed_tokens(inputs[:1], options, a_call()))
            await until(lambda: held._running)
            for wait in (0, 0, 0.001, 0.02):
                gone = [
                    asyncio.create_task(service.embed_tokens(inputs, options, a_call()))
                    for _ in range(3)
                ]
                await asyncio.sleep(wait)
                for task in gone:
                    task.cancel()
                ends = await asyncio.gather(*gone, return_exceptions=True)
                assert {type(end) for end in ends} == {asyncio.CancelledError}
            await until(lambda: engine.state().queued_tokens == 0)
            held.release()
            await first
            assert service._token_states is not None
            assert service._token_states._slots.free == MAX_TEXTS_AT_ONCE
            assert held.computed_texts == warmed_up + 1
            results, _ = await service.embed_tokens(inputs, options, a_call())
            assert not results.errors

    asyncio.run(main())


def test_what_the_engine_refuses_ends_the_call(held: HeldDevice, tiny_checkpoint: Path) -> None:
    """The queue is found full after the texts were tokenized; the quota gets their tokens back."""

    async def main() -> None:
        async with service_of(tiny_checkpoint, max_queue_tokens=100) as service:
            states = service._token_states
            assert states is not None
            options = service.check(EmbedOptions(output=Output.TOKENS))
            held.hold()
            first = asyncio.create_task(
                service.embed([Input("a")], service.check(EmbedOptions()), a_call())
            )
            await until(lambda: held._running)
            call = a_call()
            bucket = Bucket("me", 0.001, 1000.0)
            call.grant = Grant("me", bucket, lambda: True)
            tokenized = [Encoded(np.full(30, 7, np.int32), False)] * 6
            results = TokenResults.without_rows(tokenized)
            with pytest.raises(Overloaded):
                await states._compute_within_quota(results, tokenized, options, call, "inputs")
            assert bucket._level == pytest.approx(1000, abs=1)
            assert service.embedder.engine.state().queued_tokens == 0
            held.release()
            await first
            assert states._slots.free == MAX_TEXTS_AT_ONCE

    asyncio.run(main())
