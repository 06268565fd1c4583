"""Tokenize and Detokenize over a real socket."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tokenizers

from gemwire.v1 import embedding_pb2 as pb
from support.harness import Failure, Served, failure, running, text
from support.texts import SPELLED, random_text

SEED = random.randrange(1 << 32)
SMALL = 65536
CARD = "task: search result | query: "


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), max_response_bytes=SMALL) as server:
        yield server


@pytest.fixture(scope="module")
def reference(tiny_checkpoint: Path) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(tiny_checkpoint / "tokenizer.json"))


def texts(count: int) -> list[str]:
    rng = random.Random(SEED)
    return [random_text(rng) for _ in range(count)]


def tokenize(served: Served, of: pb.EmbedInput, **options: Any) -> pb.TokenizeResponse:
    request = pb.TokenizeRequest(input=of, options=pb.EmbedOptions(**options), include_spans=True)
    answer: pb.TokenizeResponse = served.embedding.Tokenize(request)
    return answer


def pairs(answer: pb.TokenizeResponse) -> list[tuple[int, int]]:
    return [(span.start_byte, span.end_byte) for span in answer.spans]


def refused(call: Callable[[], Any]) -> Failure:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return failure(caught.value)


def back(served: Served, ids: list[int], **options: Any) -> str:
    answer: pb.DetokenizeResponse = served.embedding.Detokenize(
        pb.DetokenizeRequest(ids=ids, **options)
    )
    return answer.text


def token_id(reference: tokenizers.Tokenizer, piece: str) -> int:
    found = reference.token_to_id(piece)
    assert found is not None
    return found


def ids_of_bytes(reference: tokenizers.Tokenizer, value: str) -> list[int]:
    return [token_id(reference, f"<0x{byte:02X}>") for byte in value.encode()]


def test_spans_tile_the_text_behind_each_prompt(served: Served) -> None:
    for number, value in enumerate(texts(60)):
        task = pb.TaskType.values()[number % len(pb.TaskType.values())]
        title = "a title" if task == pb.TASK_TYPE_RETRIEVAL_DOCUMENT else ""
        answer = tokenize(served, text(value, title), task=task)
        assert len(answer.spans) == len(answer.ids)
        found = [pair for pair in pairs(answer) if pair != (0, 0)]
        raw = value.encode()
        assert b"".join(raw[begin:end] for begin, end in found) == raw, (SEED, ascii(value))
        assert found[0][0] == 0 and found[-1][1] == len(raw)
        assert pairs(answer)[0] == pairs(answer)[-1] == (0, 0)


def test_spans_are_the_offsets_of_hf(served: Served, reference: tokenizers.Tokenizer) -> None:
    """In a text of ASCII both count alike."""
    value = "the Red  Planet\n\n\tis <bos> Mars 2026"
    expected = reference.encode(CARD + value)
    answer = tokenize(served, text(value), task=pb.TASK_TYPE_RETRIEVAL_QUERY)
    assert list(answer.ids) == expected.ids
    shift = len(CARD)
    assert pairs(answer) == [
        (max(a - shift, 0), b - shift) if b > shift else (0, 0) for a, b in expected.offsets
    ]


def test_spans_of_what_is_cut_at_the_start_are_those_of_the_whole(served: Served) -> None:
    value = "🚀 déjà vu " * 3000
    answer = tokenize(served, text(value), truncation=pb.TRUNCATION_START, prompt_text="p: ")
    assert answer.over_limit and len(answer.ids) == 2048
    raw = value.encode()
    found = [pair for pair in pairs(answer) if pair != (0, 0)]
    kept = raw[found[0][0] : found[-1][1]]
    assert raw.endswith(kept) and b"".join(raw[a:b] for a, b in found) == kept
    assert back(served, list(answer.ids)) == "p: " + kept.decode("utf-8", "replace")


def test_there_are_no_spans_of_ids_and_none_unless_asked_for(served: Served) -> None:
    assert not tokenize(served, pb.EmbedInput(tokens=pb.TokenIds(ids=[5, 6]))).spans
    assert not served.embedding.Tokenize(pb.TokenizeRequest(input=text("a"))).spans


def test_timing_and_revision(served: Served) -> None:
    revision = served.model.GetModel(pb.GetModelRequest()).model.revision
    began = time.monotonic()
    answer = tokenize(served, text("long words " * 500), include_timing=True)
    whole = time.monotonic() - began
    spent, total = (
        getattr(answer.timing, name).ToTimedelta().total_seconds() for name in ("tokenize", "total")
    )
    assert 0 < spent <= total <= whole
    assert {field.name for field, _ in answer.timing.ListFields()} == {"tokenize", "total"}
    assert answer.model_revision == revision
    plain = tokenize(served, text("a"))
    assert not plain.HasField("timing") and plain.model_revision == revision
    assert served.embedding.Detokenize(pb.DetokenizeRequest()).model_revision == revision


def test_a_text_comes_back(served: Served) -> None:
    for value in texts(150):
        if "▁" in value or any(token in value for token in SPELLED):
            continue
        assert back(served, list(tokenize(served, text(value)).ids)) == value, (SEED, ascii(value))
    assert back(served, []) == ""


def test_special_tokens(served: Served) -> None:
    ids = list(tokenize(served, text("a<eos>b")).ids)
    assert back(served, ids) == "ab"
    assert back(served, ids, keep_special_tokens=True) == "<bos>a<eos>b<eos>"


def test_cut_bytes_read_as_the_replacement_character(
    served: Served, reference: tokenizers.Tokenizer
) -> None:
    byte = ids_of_bytes(reference, "😀")
    assert back(served, byte) == "😀"
    assert back(served, byte[:3]) == "\ufffd"
    assert back(served, [*byte, byte[1], *byte]) == "😀\ufffd😀"


def test_long_input_is_made_in_parts(served: Served, reference: tokenizers.Tokenizer) -> None:
    """16,384 ids a part: a character of four ids is in two of them."""
    byte = ids_of_bytes(reference, "😀")
    one = token_id(reference, "1")
    ids = [one, *byte * 10_000, one]
    assert back(served, ids) == "1" + "😀" * 10_000 + "1"
    assert back(served, ids[:-3]) == "1" + "😀" * 9_999 + "\ufffd"


@pytest.mark.parametrize("count", [3, 100, 20_000])
def test_an_id_that_the_vocabulary_lacks(served: Served, count: int) -> None:
    for place in (0, count - 1):
        ids = [7] * count
        ids[place] = 2048
        found = refused(lambda: back(served, ids))  # noqa: B023
        assert (found.code, found.reason, found.field) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "TOKEN_ID_OUT_OF_RANGE",
            f"ids[{place}]",
        )
        assert f"token {place} is 2048; ids are 0 to 2047" in found.message


def test_another_model(served: Served) -> None:
    found = refused(lambda: back(served, [7], model="models/other"))
    assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    for name in ("models/tiny", "tiny", ""):
        assert back(served, [2, 7], model=name)


def test_what_is_too_large_to_answer(served: Served, reference: tokenizers.Tokenizer) -> None:
    spaces = token_id(reference, "▁" * 31)
    found = refused(lambda: back(served, [7] * SMALL))
    assert (found.reason, found.field) == ("RESPONSE_TOO_LARGE", "ids")
    found = refused(lambda: back(served, [spaces] * 10_000))
    assert (found.reason, found.field) == ("RESPONSE_TOO_LARGE", "")
    assert "send fewer at once" in found.message
    assert back(served, [spaces] * 2000) == " " * 62_000
