"""Clients that leave: what they asked for is not computed, and the call counts as cancelled."""

import logging
import socket
import struct
import time
from pathlib import Path

import pytest

from support.harness import running
from support.held_device import HeldDevice
from support.http_front import connected, post
from support.scrape import at_rest, scrape, scrape_until

WAIT = 30.0


def test_the_work_of_clients_that_left_is_never_computed(
    tiny_checkpoint: Path, small_api: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", metrics_address="127.0.0.1:0"
    ) as served:
        device.hold()
        with connected(served.http_address) as first:
            first.post("/embed", b'["first"]')
            device.wait_until_running()
            before = device.computed_texts
            for _ in range(20):
                with connected(served.http_address) as leaving:
                    leaving.post("/embed", b'["x", "y", "z"]')
                    until = time.monotonic() + WAIT
                    while not scrape(served.metrics_address).total("gemwire_queue_tokens"):
                        assert time.monotonic() < until
            scrape_until(
                served.metrics_address, lambda page: not page.total("gemwire_queue_tokens")
            )
            device.release()
            assert first.reply().status == 200
        assert post(served.http_address, "/embed", b'["after"]').status == 200
        assert device.computed_texts - before == 2
        page = scrape_until(served.metrics_address, at_rest)
        calls = {"api": "test.v1", "method": "Embed"}
        assert page.total("gemwire_calls_ended_total", code="CANCELLED", **calls) == 20
        assert page.total("gemwire_calls_ended_total", code="OK", **calls) == 2
        assert not page.imbalance()


def test_a_client_that_leaves_with_a_request_behind_the_first(
    tiny_checkpoint: Path, small_api: None
) -> None:
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", metrics_address="127.0.0.1:0"
    ) as served:
        with connected(served.http_address) as leaving:
            leaving.post("/slow", b'{"seconds": 20}')
            leaving.post("/echo", b"[]")
            calls = {"api": "test.v1", "method": "Slow"}
            scrape_until(
                served.metrics_address,
                lambda page: page.total("gemwire_calls_in_flight", **calls) == 1,
            )
        page = scrape_until(served.metrics_address, at_rest)
        assert page.total("gemwire_calls_ended_total", code="CANCELLED", **calls) == 1
        assert page.labels("gemwire_calls_started_total", "method") == {"Slow"}


def test_answers_to_clients_that_left_make_no_lines_in_the_log(
    tiny_checkpoint: Path, small_api: None, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        running(str(tiny_checkpoint), http_address="127.0.0.1:0") as served,
        caplog.at_level(logging.WARNING),
    ):
        for _ in range(20):
            with connected(served.http_address) as leaving:
                leaving.post("/zeros", b"4000000")
                leaving.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        assert post(served.http_address, "/echo", b"[]").status == 200
    assert not caplog.records


def test_a_client_that_leaves_in_its_body_is_no_call(
    tiny_checkpoint: Path, small_api: None
) -> None:
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", metrics_address="127.0.0.1:0"
    ) as served:
        with connected(served.http_address) as leaving:
            leaving.post("/echo", b"[", content_length="100")
            time.sleep(0.2)
        assert post(served.http_address, "/echo", b"[]").status == 200
        page = scrape_until(served.metrics_address, at_rest)
        assert page.total("gemwire_calls_started_total", api="test.v1") == 1
        assert page.labels("gemwire_calls_started_total", "api") == {"test.v1"}
