"""Tests workers whose server never answers, and workers that have no call to send."""

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


def test_a_worker_without_a_call_takes_part_in_a_run() -> None:
    content = Content(Source(("the",)), {}, 512)
    unary = TrafficClass(arrivals="constant", tokens="2")
    with scripted_server() as (_, address):
        with workers(3, sender.main, Target(address), content, DIMENSIONS, 1) as sending:
            step = sending.run(plan(2, 1.0, unary))
    assert step.calls == 2 and len(step.cpu) == 3
    assert step.records.count("samples") == 2
