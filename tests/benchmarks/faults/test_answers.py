"""The fake device behind a real server answers correctly. The other fault tests rely on it."""

import asyncio
from pathlib import Path

import numpy as np

from faults.controls import Controls
from faults.fake_device import vector
from faults.load import Outcomes, connected, poisson, stream
from faults.marked import Fault, marked, number_of
from faults.processes import descendants, usage
from faults.under_test import under_test
from gemwire.v1 import embedding_pb2 as pb


def test_each_text_gets_its_own_vector(tiny_checkpoint: Path, engine: str) -> None:
    async def run(address: str) -> tuple[pb.BatchEmbedResponse, Outcomes]:
        async with connected(address) as stub:
            inputs = [marked(n, 5 + n % 7) for n in range(200)]
            answer = await stub.BatchEmbed(pb.BatchEmbedRequest(inputs=inputs))
            numbered = ((n, marked(n)) for n in range(200, 1200))
            return answer, await stream(stub, numbered)

    with under_test(tiny_checkpoint, engine=engine) as server:
        answer, streamed = asyncio.run(run(server.address))
        for number, result in enumerate(answer.results):
            ids = np.array(marked(number, 5 + number % 7).tokens.ids, np.int32)
            got = np.array(result.embedding.values, np.float32)
            np.testing.assert_array_equal(got, vector(ids, len(got)))
        assert streamed.codes() == {"OK": 1000} and streamed.numbers() == set(range(200, 1200))
        assert sorted(server.controls.computed_texts()) == list(range(1200))
        assert server.usage().processes == 1 + len(server.children())
        server.terminate()
        assert server.process.wait(30) == 0
    assert not descendants(server.pid) and not usage([server.pid]).processes


def test_marked_texts_carry_their_number() -> None:
    for number in (0, 1, 1023, 1024, 2**20 - 1):
        for tokens in (5, 64):
            ids = np.array(marked(number, tokens, Fault.NAN).tokens.ids, np.int32)
            assert len(ids) == tokens and number_of(ids) == number
    assert number_of(np.array([2, 100, 200, 300, 1], np.int32)) == -1


def test_a_setting_reaches_another_reader(tmp_path: Path) -> None:
    ours, theirs = Controls(tmp_path), Controls(tmp_path)
    ours.set(step_seconds=0.25)
    assert theirs.get("step_seconds") == 0.25
    with ours.held():
        assert theirs.get("stalled_until") == np.inf
    assert theirs.get("stalled_until") == 0


def test_a_schedule_has_its_rate_and_is_the_same_again() -> None:
    times = poisson(200, 100, seed=1)
    assert abs(len(times) / 100 - 200) < 10 and (np.diff(times) > 0).all() and times[-1] < 100
    np.testing.assert_array_equal(times, poisson(200, 100, seed=1))
