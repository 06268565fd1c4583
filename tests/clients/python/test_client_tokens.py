"""Token ids, their spans and their text, by both clients against a real server."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemwire_client import AsyncClient, Client, Document, InvalidInput
from support.harness import Served, running
from support.scripted import scripted_server

TEXT = "déjà vu — 東京 🚀\n\n\tMars"
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint)) as server:
        yield server


@pytest.fixture(params=["sync", "asyncio"])
def call(request: pytest.FixtureRequest, served: Served) -> Run:
    """call("tokenize", …) makes a client, calls its method and returns the answer."""

    def with_sync(method: str, *args: Any, **options: Any) -> Any:
        with Client(served.address) as made:
            return getattr(made, method)(*args, **options)

    def with_asyncio(method: str, *args: Any, **options: Any) -> Any:
        async def main() -> Any:
            async with AsyncClient(served.address) as made:
                return await getattr(made, method)(*args, **options)

        return asyncio.run(main())

    return with_sync if request.param == "sync" else with_asyncio


@pytest.mark.parametrize("text", [TEXT, Document(TEXT, "a title")])
def test_spans_cut_the_text_into_its_tokens(call: Run, text: str | Document) -> None:
    ids, spans = call("token_spans", text, task="retrieval_document")
    assert ids.dtype == np.int32 and spans.dtype == np.uint32 and spans.shape == (len(ids), 2)
    assert np.array_equal(ids, call("tokenize", text, task="retrieval_document"))
    inside = spans[spans[:, 1] > 0]
    assert 0 < len(inside) < len(ids)
    raw = TEXT.encode()
    assert b"".join(raw[begin:end] for begin, end in inside) == raw


def test_a_text_comes_back(call: Run) -> None:
    ids = call("tokenize", TEXT)
    for given in (ids, ids.tolist(), tuple(ids.tolist()), ids.astype(np.int64)):
        assert call("detokenize", given) == TEXT
    assert call("detokenize", ids, keep_special_tokens=True) == f"<bos>{TEXT}<eos>"
    assert call("detokenize", []) == ""


def test_an_id_that_the_model_lacks(call: Run) -> None:
    with pytest.raises(InvalidInput) as caught:
        call("detokenize", [5, 99_999])
    assert caught.value.reason == "TOKEN_ID_OUT_OF_RANGE"
    assert list(caught.value.fields) == ["ids[1]"]


@pytest.mark.parametrize("ids", ["text", b"ab", 7, iter([5])])
def test_what_is_no_sequence_of_ids(call: Run, ids: Any) -> None:
    with pytest.raises(TypeError, match="token ids are a sequence"):
        call("detokenize", ids)


def test_ids_have_no_spans(call: Run) -> None:
    with pytest.raises(TypeError, match="not in list"):
        call("token_spans", [5, 6])


def test_a_server_that_is_older_than_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server() as (scripted, address), Client(address) as client:
        ids, spans = client.token_spans("ab")
        assert ids.tolist() == [2, 97, 98, 1] and spans.tolist() == [[0, 0], [0, 1], [1, 2], [0, 0]]
        monkeypatch.setattr(scripted, "knows_spans", False)
        with pytest.raises(ValueError, match="no spans"):
            client.token_spans("ab")
