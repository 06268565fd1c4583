"""Answers of tei.v1 within --max-response-bytes, and what a client that does not read can make a server
hold."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gemwire_compat import tei_pb2 as pb
from support.harness import Served, running
from support.server_process import server_process
from support.tei import Tei, until_failure

LIMIT = 65536
STATES = "the states of "
TEXTS = "the texts of the request have too many bytes for one answer"
DECODED = "the text of 6000 ids has too many bytes for one answer"
IDS = "65537 ids have too many bytes for one answer"


@pytest.fixture(scope="module")
def limited(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), max_response_bytes=LIMIT) as server:
        yield server


def test_rows_that_fit_and_one_more(limited: Served) -> None:
    """Rows that do not fit are refused by their number of tokens, by a call and by a stream alike."""
    tei = Tei(limited.channel)

    def answers(tokens: int) -> list[tuple[list[Any], tuple[str, str]]]:
        request = pb.EmbedAllRequest(inputs="a" + " a" * (tokens - 3))
        calls = (iter([request]), request)
        unary = (tei.EmbedAll(each) for each in calls[1:])
        return [until_failure(tei.EmbedAllStream(calls[0])), until_failure(unary)]

    row = len(tei.EmbedAll(pb.EmbedAllRequest(inputs="a")).token_embeddings[0].embeddings) * 4
    fits, most = False, LIMIT // row
    for tokens in range(most + 1, most - LIMIT // row // 4, -1):
        for got, (code, message) in answers(tokens):
            if code == "OK":
                fits = True
                assert got[0].ByteSize() <= LIMIT
            else:
                assert not fits and code == "INVALID_ARGUMENT"
                assert f"{STATES}{tokens} tokens can have" in message
        if fits:
            break
    assert fits


@pytest.mark.parametrize(
    ("method", "request_", "message"),
    [
        ("Tokenize", pb.EncodeRequest(inputs="a 1" * 4000), TEXTS),
        ("Decode", pb.DecodeRequest(ids=[5] * 6000), DECODED),
        ("Decode", pb.DecodeRequest(ids=[2**31] * (LIMIT + 1)), IDS),
    ],
)
def test_a_stream_refuses_what_a_call_refuses(
    limited: Served, method: str, request_: Any, message: str
) -> None:
    tei = Tei(limited.channel)
    code, found = tei.error(method, request_)
    assert code == "INVALID_ARGUMENT"
    assert found.startswith(f"Input validation error: {message}")
    assert found.endswith("--max-response-bytes is 65536: send less at once")
    assert tei.error(f"{method}Stream", iter([request_])) == (code, found)


def test_a_client_that_does_not_read_holds_few_answers(tiny_checkpoint: Path) -> None:
    """256 answers of 0.7 MB are 180 MB, where each request has 40 kB."""
    with (
        server_process(tiny_checkpoint) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        tei = Tei(channel)
        ids = [token.id for token in tei.Tokenize(pb.EncodeRequest(inputs=" " * 16)).tokens]
        request = pb.DecodeRequest(ids=ids[:1] * 40000)
        size = tei.Decode(request).ByteSize()
        assert size > 16 * len(request.SerializeToString()) / 2
        before = server.resident_mib()
        answers = tei.DecodeStream(iter([request] * 256))
        answers.initial_metadata()
        peak, end = 0.0, time.monotonic() + 4.0
        while time.monotonic() < end:
            peak = max(peak, server.resident_mib())
            time.sleep(0.02)
        assert peak - before < 60
        assert sum(answer.ByteSize() == size for answer in answers) == 256
