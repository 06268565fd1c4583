"""Answers of tei.v1 within --max-response-bytes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gemwire_compat import tei_pb2 as pb
from support.harness import Served, running
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
