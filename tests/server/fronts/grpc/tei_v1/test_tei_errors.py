"""Codes and messages of tei.v1, which its clients match on, and the order of its checks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from gemwire_compat import tei_pb2 as pb
from gemwire_server.security.tokens import make
from support.harness import Served, running
from support.tei import Tei, code_of
from support.token_files import bearer, write

INVALID = "Input validation error: "
EMPTY = f"{INVALID}`inputs` cannot be empty"
TOO_LONG = INVALID + "`inputs` must have less than 2048 tokens. Given: {}"
NOT_CLASSIFIER = ("FAILED_PRECONDITION", "Backend error: Model is not a classifier model")
NOT_SPARSE = (
    "FAILED_PRECONDITION",
    "Backend error: Model is not an embedding model with SPLADE pooling",
)
NOT_RERANKER = ("FAILED_PRECONDITION", "model is not a classifier model")
ZERO = f"{INVALID}`dimensions` should be positive"
OVER = f"{INVALID}`dimensions` should be smaller than the maximum embedding dimension."
PAIR = "`inputs` must have a single or two elements. Given: {}"


def test_an_empty_text(tei: Tei) -> None:
    for request in (pb.EmbedRequest(), pb.EmbedRequest(prompt_name="query", truncate=True)):
        assert tei.error("Embed", request) == ("INVALID_ARGUMENT", EMPTY)
    assert tei.error("EmbedAll", pb.EmbedAllRequest()) == ("INVALID_ARGUMENT", EMPTY)
    assert tei.error("Tokenize", pb.EncodeRequest()) == ("INVALID_ARGUMENT", EMPTY)


def test_more_tokens_than_the_window(tei: Tei) -> None:
    """The window itself is accepted. The count is of all tokens, the prompt's and the special ones too."""

    def request(words: int, prompt: str | None = None) -> pb.EmbedRequest:
        return pb.EmbedRequest(inputs="a" + " a" * (words - 1), prompt_name=prompt)

    assert tei.Embed(request(2046)).metadata.compute_tokens == 2048
    assert tei.error("Embed", request(2047)) == ("INVALID_ARGUMENT", TOO_LONG.format(2049))
    prompt = tei.Embed(request(1, "query")).metadata.compute_tokens - 3
    expected = TOO_LONG.format(2049 + prompt)
    assert tei.error("Embed", request(2047, "query")) == ("INVALID_ARGUMENT", expected)
    all_of = pb.EmbedAllRequest(inputs=request(2047).inputs)
    assert tei.error("EmbedAll", all_of) == ("INVALID_ARGUMENT", TOO_LONG.format(2049))


def test_a_text_that_is_not_tokenized_has_at_least_the_tokens_given(served: Served) -> None:
    code, message = Tei(served.channel).error("Embed", pb.EmbedRequest(inputs="a " * 100_000))
    assert code == "INVALID_ARGUMENT"
    given = int(message.removeprefix(TOO_LONG.format("")))
    assert 2048 < given <= 200_002


def test_more_characters_than_the_limit(tei: Tei) -> None:
    text = "é" * 512_001
    message = f"{INVALID}`inputs` must have less than 512000 characters. Given: 512001"
    for method, request in {
        "Embed": pb.EmbedRequest(inputs=text, prompt_name="query"),
        "EmbedAll": pb.EmbedAllRequest(inputs=text),
        "Tokenize": pb.EncodeRequest(inputs=text),
    }.items():
        assert tei.error(method, request) == ("INVALID_ARGUMENT", message)


@pytest.mark.parametrize("name", ["nope", "", "Query", "é\n" * 500])
def test_a_prompt_that_the_model_does_not_have(tei: Tei, name: str) -> None:
    begin = f"{INVALID}`default-prompt-name` is set to `{name[:64]}` but it was not found in the "
    begin += 'Sentence Transformers prompts. Available prompts: ["BitextMining", '
    for method, request in {
        "Embed": pb.EmbedRequest(inputs="a", prompt_name=name),
        "EmbedAll": pb.EmbedAllRequest(inputs="a", prompt_name=name),
        "Tokenize": pb.EncodeRequest(inputs="a", prompt_name=name),
    }.items():
        code, message = tei.error(method, request)
        assert code == "INVALID_ARGUMENT"
        assert message.startswith(begin) and message.endswith('"document", "query"]')


def test_dimensions_that_cannot_be(tei: Tei) -> None:
    def request(dimensions: int) -> pb.EmbedRequest:
        return pb.EmbedRequest(inputs="a", dimensions=dimensions)

    assert tei.error("Embed", request(0)) == ("INVALID_ARGUMENT", ZERO)
    for dimensions in (97, 2**32 - 1):
        assert tei.error("Embed", request(dimensions)) == ("INVALID_ARGUMENT", OVER)
    assert len(tei.vector("a", dimensions=96)) == 96


@pytest.mark.parametrize("direction", [2, -1, 2**31 - 1])
def test_a_direction_without_a_name(tei: Tei, direction: Any) -> None:
    for method, request in {
        "Embed": pb.EmbedRequest(inputs="a", truncation_direction=direction),
        "EmbedAll": pb.EmbedAllRequest(inputs="a", truncation_direction=direction),
    }.items():
        code, message = tei.error(method, request)
        assert code == "INVALID_ARGUMENT" and message.startswith(INVALID)


def test_the_first_of_several_errors(tei: Tei) -> None:
    """Dimensions of 0, empty, prompt, characters, tokens, dimensions of too many."""
    wrong: dict[str, Any] = {"dimensions": 0, "prompt_name": "nope"}
    assert tei.error("Embed", pb.EmbedRequest(**wrong))[1] == ZERO
    wrong["dimensions"] = 97
    assert tei.error("Embed", pb.EmbedRequest(**wrong))[1] == EMPTY
    wrong["inputs"] = "a" * 512_001
    assert "Available prompts" in tei.error("Embed", pb.EmbedRequest(**wrong))[1]
    wrong["prompt_name"] = "query"
    assert "512000 characters" in tei.error("Embed", pb.EmbedRequest(**wrong))[1]
    wrong["inputs"] = "a" + " a" * 2046
    assert "2048 tokens" in tei.error("Embed", pb.EmbedRequest(**wrong))[1]
    wrong["truncate"] = True
    assert tei.error("Embed", pb.EmbedRequest(**wrong))[1] == OVER


@pytest.mark.parametrize("text", ["", "a"])
def test_what_another_type_of_model_would_answer(tei: Tei, text: str) -> None:
    sparse = pb.EmbedSparseRequest(inputs=text, prompt_name="nope")
    predict = pb.PredictRequest(inputs=text)
    pairs = {n: pb.PredictPairRequest(inputs=[text] * n) for n in range(4)}
    for streamed in (False, True):
        suffix = "Stream" if streamed else ""

        def asked(request: Message, streamed: bool = streamed) -> Message | Iterator[Message]:
            return iter([request]) if streamed else request

        assert tei.error(f"EmbedSparse{suffix}", asked(sparse)) == NOT_SPARSE
        assert tei.error(f"Predict{suffix}", asked(predict)) == NOT_CLASSIFIER
        for count in (1, 2):
            assert tei.error(f"PredictPair{suffix}", asked(pairs[count])) == NOT_CLASSIFIER
        for count in (0, 3):
            expected = ("INVALID_ARGUMENT", PAIR.format(count))
            assert tei.error(f"PredictPair{suffix}", asked(pairs[count])) == expected


def test_rerank(tei: Tei) -> None:
    assert tei.error("Rerank", pb.RerankRequest(query="q", texts=["t"])) == NOT_RERANKER
    without = ("INVALID_ARGUMENT", "`texts` cannot be empty")
    assert tei.error("Rerank", pb.RerankRequest(query="q")) == without
    for count in (0, 2):
        requests = iter([pb.RerankStreamRequest(query="q", text="t")] * count)
        assert tei.error("RerankStream", requests) == NOT_RERANKER


def test_decode_without_ids(tei: Tei) -> None:
    expected = ("INVALID_ARGUMENT", f"{INVALID}`input_ids` cannot be empty")
    assert tei.error("Decode", pb.DecodeRequest()) == expected


def test_bytes_that_are_no_message(served: Served) -> None:
    for raw in (b"\xff\xff", b"\x0a\x02\xc3\x28"):
        call: Any = served.channel.unary_unary("/tei.v1.Embed/Embed")
        with pytest.raises(grpc.RpcError) as found:
            call(raw)
        code, message = code_of(found.value)
        assert code == "INTERNAL" and message.startswith("failed to decode Protobuf message: ")


def test_no_token(tiny_checkpoint: Path, tmp_path: Path) -> None:
    token, line = make("team")
    file = tmp_path / "tokens"
    write(file, line)
    with running(str(tiny_checkpoint), tokens_file=str(file)) as served:
        tei = Tei(served.channel)
        expected = ("UNAUTHENTICATED", "No valid auth token")
        assert tei.error("Info", pb.InfoRequest()) == expected
        assert tei.error("Embed", pb.EmbedRequest(inputs="a")) == expected
        assert tei.error("EmbedStream", iter([pb.EmbedRequest(inputs="a")])) == expected
        request = pb.EmbedRequest(inputs="a")
        assert len(tei.Embed(request, metadata=bearer(token)).embeddings) == 96
