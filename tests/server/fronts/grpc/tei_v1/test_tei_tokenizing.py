"""Tokenize and Decode of tei.v1, against HF's tokenizers on the same files."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from gemwire_compat import tei_pb2 as pb
from support.harness import running
from support.tei import Tei, until_failure

TEXTS = ["Mars is red.", "a  two   three\n\n\nfour ", "é 🙂 ͸", " ", "naïve café", "x" * 500]


@pytest.fixture(scope="module")
def hf(tiny_checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_file(str(tiny_checkpoint / "tokenizer.json"))


@pytest.mark.parametrize("content", TEXTS)
@pytest.mark.parametrize("prompt", [None, "query"])
def test_tokens_and_their_bytes(tei: Tei, hf: Tokenizer, content: str, prompt: str | None) -> None:
    """Offsets are bytes of prompt and text; a character of several tokens belongs to each of them."""
    answer = tei.Tokenize(pb.EncodeRequest(inputs=content, prompt_name=prompt))
    whole = {None: "", "query": "task: search result | query: "}[prompt] + content
    expected = hf.encode(whole, add_special_tokens=False)
    assert [token.id for token in answer.tokens] == expected.ids
    for token, (first, last) in zip(answer.tokens, expected.offsets, strict=True):
        assert token.text == whole[first:last]
        assert (token.start, token.stop) == (
            len(whole[:first].encode()),
            len(whole[:last].encode()),
        )
        assert token.HasField("start") and token.HasField("stop") and not token.special


def test_added_tokens(tei: Tei) -> None:
    plain = tei.Tokenize(pb.EncodeRequest(inputs="Mars")).tokens
    first, *inner, last = tei.Tokenize(
        pb.EncodeRequest(inputs="Mars", add_special_tokens=True)
    ).tokens
    assert first == pb.SimpleToken(id=2, text="<bos>", special=True)
    assert last == pb.SimpleToken(id=1, text="<eos>", special=True)
    assert inner == list(plain)
    assert not first.HasField("start") and not last.HasField("stop")


def test_special_tokens_that_the_text_spells(tei: Tei) -> None:
    """They have the special ids, and are tokens of the text nevertheless."""
    answer = tei.Tokenize(pb.EncodeRequest(inputs="<eos>"))
    assert list(answer.tokens) == [pb.SimpleToken(id=1, text="<eos>", start=0, stop=5)]


def test_more_tokens_than_the_window(tei: Tei) -> None:
    assert len(tei.Tokenize(pb.EncodeRequest(inputs="a" + " a" * 4227)).tokens) == 4228


def test_more_characters_than_the_tokenizer_takes(tei: Tei) -> None:
    code, message = tei.error("Tokenize", pb.EncodeRequest(inputs="a" * 500_000))
    assert code == "INVALID_ARGUMENT"
    assert message.startswith("Input validation error: `inputs` must have less than ")
    assert message.endswith(" characters. Given: 500000")


@pytest.mark.parametrize("content", TEXTS)
def test_decoding_gives_the_text_back(tei: Tei, content: str) -> None:
    request = pb.EncodeRequest(inputs=content, add_special_tokens=True)
    ids = [token.id for token in tei.Tokenize(request).tokens]
    kept = tei.Decode(pb.DecodeRequest(ids=ids)).text
    assert kept == f"<bos>{content}<eos>"
    skipped = tei.Decode(pb.DecodeRequest(ids=ids, skip_special_tokens=True)).text
    assert skipped == content


def test_ids_without_text(tei: Tei) -> None:
    """Special tokens that are skipped, and ids that the vocabulary lacks, give nothing and no error."""
    assert not tei.Decode(pb.DecodeRequest(ids=[2, 1, 0], skip_special_tokens=True)).text
    (token,) = tei.Tokenize(pb.EncodeRequest(inputs=" ")).tokens
    assert tei.Decode(pb.DecodeRequest(ids=[2**32 - 1, token.id, 10**6])).text == " "
    assert tei.Decode(pb.DecodeRequest(ids=[10**6])).text == ""


def test_answers_have_a_limit(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), max_response_bytes=65536) as served:
        tei = Tei(served.channel)
        for method, request in {
            "Tokenize": pb.EncodeRequest(inputs="a " * 20_000),
            "Decode": pb.DecodeRequest(ids=[2] * 20_000),
        }.items():
            code, message = tei.error(method, request)
            assert code == "INVALID_ARGUMENT" and "--max-response-bytes" in message
        assert len(tei.Tokenize(pb.EncodeRequest(inputs="a")).tokens) == 1


def test_streams_answer_in_order_until_a_bad_request(tei: Tei) -> None:
    requests = [pb.EncodeRequest(inputs=content) for content in TEXTS]
    expected = [tei.Tokenize(request) for request in requests]
    empty = ("INVALID_ARGUMENT", "Input validation error: `inputs` cannot be empty")
    assert until_failure(tei.TokenizeStream(iter(requests))) == (expected, ("OK", ""))
    bad = [*requests, pb.EncodeRequest(), *requests]
    assert until_failure(tei.TokenizeStream(iter(bad))) == (expected, empty)
    decoded = [pb.DecodeRequest(ids=[token.id for token in each.tokens]) for each in expected]
    texts, status = until_failure(tei.DecodeStream(iter([*decoded, pb.DecodeRequest()])))
    assert [each.text for each in texts] == TEXTS
    assert status == ("INVALID_ARGUMENT", "Input validation error: `input_ids` cannot be empty")
