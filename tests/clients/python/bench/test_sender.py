"""Calls that a server never answers."""

import time
from dataclasses import replace

import pytest

from gemwire_bench import sender
from gemwire_bench.mix import TrafficClass
from gemwire_bench.requests import Content
from gemwire_bench.run import workers
from gemwire_bench.target import Target
from gemwire_bench.texts import Source
from support.loading import plan
from support.scripted import DIMENSIONS, scripted_server


@pytest.mark.parametrize(("callers", "samples"), [(0, 20), (3, 6)])
def test_texts_of_a_stream_that_are_never_answered_end_with_their_deadline(
    callers: int, samples: int
) -> None:
    content = Content(Source(("the",)), {}, 512)
    stream = TrafficClass(mode="stream", arrivals="constant", texts="2", deadline=1.0)
    with scripted_server() as (server, address):
        server.silent, server.credit = True, 256
        with workers(1, sender.main, Target(address), content, DIMENSIONS, 1) as sending:
            started = time.monotonic()
            step = sending.run(replace(plan(10, 1.0, stream), callers=callers))
            assert time.monotonic() - started < 15
    assert step.records.count("samples", code="UNANSWERED") == samples
    assert step.records.count("samples") == samples
