"""The service without any transport: what a new front has to do, in a few lines."""

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.engine.packing import pack
from gemwire_server.errors import EngineFailure, Expired, InvalidInput, Overloaded, Stopped
from gemwire_server.runners.cpu import CpuRunner
from gemwire_server.service.requests import EmbedOptions, Input, PromptText, Task
from gemwire_server.service.service import Service
from gemwire_server.service.vectors import cut
from support.services import a_call, service_of
from uninstalled import ROOT, environment

TEXTS = ["What is gravity?", "a", "The quick brown fox. " * 40]


def test_a_front_of_a_few_lines_embeds(tiny_checkpoint: Path) -> None:
    """Against the runner, given the tokenizer's ids one text at a time."""

    async def front(service: Service) -> tuple[np.ndarray, list[int]]:
        call = a_call()
        async with service.call(call):
            options = service.check(EmbedOptions(prompt=Task("retrieval_query"), dimensions=64))
            results, timing = await service.embed([Input(text) for text in TEXTS], options, call)
            results.raise_first_error()
        assert timing.total_seconds >= timing.compute_seconds > 0
        return cut(results.vectors, options.vectors), results.token_counts.tolist()

    async def main() -> tuple[np.ndarray, list[int], str]:
        async with service_of(tiny_checkpoint) as service:
            return *await front(service), service.model.prompts.for_task("retrieval_query")

    found, counts, prompt = asyncio.run(main())
    checkpoint = open_checkpoint(str(tiny_checkpoint))
    tokenizer = checkpoint.load_tokenizer()
    runner = CpuRunner.load(checkpoint, dtype="float32", threads=0)
    for i, text in enumerate(TEXTS):
        ids = tokenizer.encode(text, prompt=prompt).ids
        expected = runner.run(pack([ids]))[0, :64]
        expected = expected / np.linalg.norm(expected)
        assert counts[i] == len(ids)
        np.testing.assert_allclose(found[i], expected, atol=2e-6)


def test_it_needs_no_transport(tiny_checkpoint: Path) -> None:
    """In a process of its own, a text is embedded, and neither gRPC nor the API's stubs are imported."""
    program = f"""
import asyncio, sys
from pathlib import Path
from gemwire_server.service.requests import EmbedOptions, Input
from support.services import a_call, service_of

async def main():
    async with service_of(Path({str(tiny_checkpoint)!r})) as service:
        call = a_call()
        async with service.call(call):
            results, _ = await service.embed([Input("a text")], service.check(EmbedOptions()), call)
        print(results.vectors.shape, not results.errors)

asyncio.run(main())
print(sorted(name for name in sys.modules if name.split(".")[0] in ("grpc", "gemwire")))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT / "tests",  # which has `support`
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "(1, 96) True\n[]\n", done.stderr


def test_errors_of_texts_and_of_calls(tiny_checkpoint: Path) -> None:
    registry = CollectorRegistry()

    async def main() -> None:
        async with service_of(tiny_checkpoint, registry, max_inputs_per_request=3) as service:
            call = a_call()
            async with service.call(call):
                options = service.check(EmbedOptions())
                inputs = [Input("fine"), Input(""), Input()]
                results, _ = await service.embed(inputs, options, call)
                assert sorted(results.errors) == [1, 2]
                paths = [getattr(error, "field", "") for error in results.errors.values()]
                assert paths == ["inputs[1].text", "inputs[2].text"]
                with pytest.raises(InvalidInput, match="4 inputs in one request; the limit is 3"):
                    await service.embed([Input("a")] * 4, options, call)
            for options_of, field in (
                (EmbedOptions(dimensions=5), "dimensions"),
                (EmbedOptions(priority=11), "priority"),
                (EmbedOptions(prompt=PromptText("x" * 5000)), "prompt_text"),
            ):
                with pytest.raises(InvalidInput) as caught:
                    async with service.call(a_call()):
                        service.check(options_of)
                assert caught.value.field == field
            with pytest.raises(EngineFailure) as failed:
                async with service.call(a_call()):
                    raise RuntimeError("a private text")
            assert failed.value.reason == "INTERNAL" and "private" not in failed.value.message
            service.close_gate()
            with pytest.raises(Stopped):
                async with service.call(a_call()):
                    pass
            await service.wait_idle()

    asyncio.run(main())
    ended = {
        sample.labels["code"]: sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "gemwire_calls_ended_total"
    }
    assert ended == {"OK": 1, "INVALID_ARGUMENT": 3, "INTERNAL": 1, "UNAVAILABLE": 1}


def test_all_or_none_computes_none_beside_a_bad_text(tiny_checkpoint: Path) -> None:
    registry = CollectorRegistry()

    async def main() -> None:
        async with service_of(tiny_checkpoint, registry) as service:
            options = service.check(EmbedOptions())
            inputs = [Input("fine"), Input("long " * 5000), Input("")]
            async with service.call(a_call()):
                with pytest.raises(InvalidInput) as caught:
                    await service.embed(inputs, options, a_call(), all_or_none=True)
            assert (caught.value.reason, caught.value.field) == ("TEXT_TOO_LONG", "inputs[1].text")
            async with service.call(a_call()):
                results, _ = await service.embed(inputs[:1], options, a_call(), all_or_none=True)
            assert not results.errors

    asyncio.run(main())
    labels = {"api": "test", "method": "Embed"}
    assert registry.get_sample_value("gemwire_texts_total", labels) == 1


def test_limits_of_calls_and_their_time(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with service_of(tiny_checkpoint, max_concurrent_calls=1, call_seconds=0.1) as service:
            async with service.call(a_call(), limited=False):
                with pytest.raises(Overloaded):
                    async with service.call(a_call()):
                        pass
                assert service.active_calls == 1
            assert service.active_calls == 0
            call = a_call()
            with pytest.raises(Expired, match=r"this server's is 0\.1 s"):
                async with service.call(call):
                    await asyncio.sleep(30)
            assert call.deadline is not None and call.is_late

    asyncio.run(main())


def test_a_cancelled_call_is_counted_by_why(tiny_checkpoint: Path) -> None:
    registry = CollectorRegistry()

    async def main() -> None:
        async with service_of(tiny_checkpoint, registry) as service:
            for deadline in (None, 0.0):

                async def wait(deadline: float | None = deadline) -> None:
                    async with service.call(a_call(deadline)):
                        await asyncio.sleep(30)

                task = asyncio.create_task(wait())
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    asyncio.run(main())
    for code in ("CANCELLED", "DEADLINE_EXCEEDED"):
        labels = {"api": "test", "method": "Embed", "code": code}
        assert registry.get_sample_value("gemwire_calls_ended_total", labels) == 1
