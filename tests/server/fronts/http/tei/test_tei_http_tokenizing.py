"""/tokenize and /decode, against tei.v1 over gRPC."""

from pathlib import Path
from typing import Any

import pytest

from gemwire_compat import tei_pb2 as pb
from support.harness import Served, running
from support.json_http import request
from support.tei import Tei

TEXTS = ["Mars is red.", "a  two\n\n", "é 🙂 ͸", "<eos>"]


def expected(tei: Tei, text: str, **options: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": token.id,
            "text": token.text,
            "special": token.special,
            "start": token.start if token.HasField("start") else None,
            "stop": token.stop if token.HasField("stop") else None,
        }
        for token in tei.Tokenize(pb.EncodeRequest(inputs=text, **options)).tokens
    ]


@pytest.mark.parametrize("options", [{}, {"prompt_name": "query"}, {"add_special_tokens": False}])
def test_tokens(served: Served, tei: Tei, options: dict[str, Any]) -> None:
    """Special tokens are added unless the request says otherwise."""
    over_grpc = {"add_special_tokens": True, **options}
    rows = [expected(tei, text, **over_grpc) for text in TEXTS]
    answer = request(served.http_address, "/tokenize", {"inputs": TEXTS, **options})
    assert answer.status == 200 and answer.json == rows
    one = request(served.http_address, "/tokenize", {"inputs": TEXTS[0], **options})
    assert one.json == rows[:1]


def test_decoding(served: Served, tei: Tei) -> None:
    ids = [
        [token["id"] for token in expected(tei, text, add_special_tokens=True)] for text in TEXTS
    ]

    def decode(body: Any) -> Any:
        return request(served.http_address, "/decode", body).json

    assert decode({"ids": ids}) == [*TEXTS[:-1], ""]
    assert decode({"ids": ids[0]}) == [TEXTS[0]]
    kept = decode({"ids": ids, "skip_special_tokens": False})
    assert kept == [f"<bos>{text}<eos>" for text in TEXTS]
    assert decode({"ids": [2**32 - 1, *ids[0]]}) == [TEXTS[0]]


def test_tokens_of_all_texts_have_a_limit(tiny_checkpoint: Path) -> None:
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", max_response_bytes=65536
    ) as served:
        answer = request(served.http_address, "/tokenize", {"inputs": ["a " * 3000] * 4})
        assert answer.status == 413 and "--max-response-bytes" in answer.json["error"]
