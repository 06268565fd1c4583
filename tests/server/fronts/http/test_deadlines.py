"""The time that a client gives a request, from the headers of Envoy and of OpenAI's libraries."""

import time

import pytest

from gemwire_server.fronts.http.deadlines import timeout_of
from support.harness import Served
from support.http_front import post


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"x-envoy-expected-rq-timeout-ms": "1500"}, 1.5),
        ({"x-stainless-read-timeout": "600"}, 600.0),
        ({"x-stainless-read-timeout": "2.5", "x-envoy-expected-rq-timeout-ms": "15000"}, 2.5),
        ({"x-stainless-timeout": "3"}, 4.0),
        ({"x-stainless-timeout": "0"}, None),
        ({"x-stainless-read-timeout": "0"}, None),
        ({"x-stainless-read-timeout": "-1"}, None),
        ({"x-stainless-read-timeout": "nan"}, None),
        ({"x-stainless-read-timeout": "inf"}, None),
        ({"x-stainless-read-timeout": "1e9"}, None),
        ({"x-stainless-read-timeout": "NOT_GIVEN"}, None),
    ],
)
def test_headers_that_tell_a_time(headers: dict[str, str], seconds: float | None) -> None:
    assert timeout_of(headers) == seconds


def test_a_call_ends_at_the_deadline_of_its_client(served: Served) -> None:
    began = time.monotonic()
    reply = post(
        served.http_address,
        "/slow",
        b'{"seconds": 20}',
        x_envoy_expected_rq_timeout_ms="300",
    )
    assert (reply.status, reply.json()["reason"]) == (504, "DEADLINE_EXCEEDED")
    assert 0.25 < time.monotonic() - began < 5
    # A good while is no hindrance.
    assert (
        post(served.http_address, "/embed", b'["a"]', x_stainless_read_timeout="600").status == 200
    )
