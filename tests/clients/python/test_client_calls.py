"""Unary calls of both clients: splitting, errors, patience. One test body, two clients."""

import asyncio
import inspect
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client import (
    AsyncClient,
    Client,
    ConnectionLost,
    DeadlineExceeded,
    Document,
    EngineFailure,
    GemwireError,
    InvalidInput,
    Overloaded,
    ProxyTimeout,
    Unavailable,
)
from gemwire_client.requests import ENCODINGS
from support.scripted import Scripted, foreign, scripted_server, status, vector

Run = Callable[..., Any]


def texts(count: int) -> list[str]:
    return [f"text number {i}" for i in range(count)]


@pytest.mark.parametrize("count", [0, 1, 8, 9, 50])
def test_splits_by_count_and_keeps_order(call: Run, scripted: Scripted, count: int) -> None:
    vectors = call("embed", texts(count))
    assert vectors.shape == (count, 4) and vectors.dtype == np.float32
    assert vectors.tolist() == [vector(text) for text in texts(count)]
    assert sum(len(request.inputs) for request in scripted.requests) == count
    assert len(scripted.requests) == -(-count // 8)


def test_splits_by_bytes(call: Run, scripted: Scripted) -> None:
    large = [f"{i}" * 60_000 for i in range(6)]  # two of them to a message of 200,000
    assert call("embed", large).tolist() == [vector(text) for text in large]
    assert [len(request.inputs) for request in scripted.requests] == [2, 2, 2]


def test_what_is_sent(call: Run, scripted: Scripted) -> None:
    call("embed_query", "q", dimensions=2)
    call("embed_documents", ["a", "b"], titles=["A", "B"])
    call(
        "embed", [Document("d", "D"), np.array([4, 5])], prompt="p: ", truncation="end", priority=3
    )
    query, documents, mixed = scripted.requests
    assert query.options.output_dimensionality == 2
    assert query.options.task == 1 and documents.options.task == 2
    assert [(item.text, item.title) for item in documents.inputs] == [("a", "A"), ("b", "B")]
    assert mixed.options.prompt_text == "p: " and mixed.options.priority == 3
    assert mixed.options.truncation == 2
    assert mixed.inputs[0].title == "D" and list(mixed.inputs[1].tokens.ids) == [4, 5]


@pytest.mark.parametrize("task", ["code_retrieval_query", pb.TASK_TYPE_CODE_RETRIEVAL_QUERY])
def test_words_may_be_the_apis_numbers(call: Run, scripted: Scripted, task: Any) -> None:
    call("embed", "x", task=task, truncation=pb.TRUNCATION_START, encoding=pb.VECTOR_ENCODING_INT8)
    sent = scripted.requests[0].options
    assert (sent.task, sent.truncation, sent.encoding) == (8, 3, 4)


def test_titles_go_with_texts(call: Run, scripted: Scripted) -> None:
    call("embed", ["a", "b"], titles=["A", "B"], task="retrieval_document")
    assert [item.title for item in scripted.requests[0].inputs] == ["A", "B"]
    call("embed", (text for text in "ab"), titles=("A", ""), task="retrieval_document")
    assert [item.title for item in scripted.requests[1].inputs] == ["A", ""]


@pytest.mark.parametrize("method", ["embed", "embed_documents"])
@pytest.mark.parametrize(
    ("texts", "titles", "said"),
    [
        (["a"], ["A", "B"], "there are 1 texts and 2 titles"),
        (["a", "b"], [], "there are 2 texts and 0 titles"),
        (["a", "b"], "AB", "titles is one str"),
        (["a", "b"], ["A", None], "title 1 is NoneType"),
        (["a", [1, 2]], ["A", "B"], "text 1 is a Document or token ids"),
        ([Document("a", "A")], ["A"], "text 0 is a Document or token ids"),
    ],
)
def test_wrong_titles_are_refused_before_anything_is_sent(
    call: Run, scripted: Scripted, method: str, texts: Any, titles: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        call(method, texts, titles=titles)
    assert "zip" not in str(caught.value)
    assert scripted.requests == []


def test_titles_of_a_single_text_are_a_document(call: Run) -> None:
    with pytest.raises(ValueError, match="a single one is a Document"):
        call("embed", "a", titles=["A"])


@pytest.mark.parametrize("ids", [5, b"bytes", 1.5, ["a"], [1.5], iter("ab")])
def test_what_is_no_text_is_refused_before_it_is_sent(
    call: Run, scripted: Scripted, ids: Any
) -> None:
    with pytest.raises(TypeError):
        call("embed", ["fine", ids])
    assert scripted.requests == []


def test_tokenize(call: Run) -> None:
    ids = call("tokenize", "ab")
    assert ids.dtype == np.int32 and ids.tolist() == [2, 97, 98, 1]


def test_the_model_is_asked_for_once(call: Run) -> None:
    model = call("model")
    assert (model.name, model.dimensions) == ("models/scripted", 4)
    assert model.limits.max_inputs_per_request == 8


def decoded(text: str, encoding: str) -> Any:
    """The server's vector after its way through an encoding, by numpy."""
    exact = np.array(vector(text), np.float32)
    step = np.float32(np.abs(exact).max() / 127)
    return {
        "float32": exact,
        "bfloat16": (exact.view(np.uint32) & 0xFFFF0000).view(np.float32),
        "float16": exact.astype(np.float16).astype(np.float32),
        "int8": np.round(exact / step).astype(np.float32) * step,
        "int8_fixed": np.round(np.clip(exact, -1, 1) * 127).astype(np.int8),
        "ubinary": np.packbits(exact > 0),
        "binary": (np.packbits(exact > 0) - 128).astype(np.int8),
        "ubinary_lsb": np.packbits(exact > 0, bitorder="little"),
    }[encoding]


def test_no_request_asks_for_more_than_an_answer_holds(call: Run, scripted: Scripted) -> None:
    scripted.limits = pb.Limits(
        max_inputs_per_request=1000, max_request_bytes=200_000, max_response_bytes=1024 + 5 * 512
    )
    some = texts(23)
    found = call("embed", some)
    np.testing.assert_array_equal(found, [vector(text) for text in some])
    assert sorted(len(request.inputs) for request in scripted.requests) == [3, 5, 5, 5, 5]


# Type and width of a vector of 16.
DECODED: dict[str, tuple[type, int]] = {
    "float32": (np.float32, 16),
    "bfloat16": (np.float32, 16),
    "float16": (np.float32, 16),
    "int8": (np.float32, 16),
    "ubinary": (np.uint8, 2),
    "binary": (np.int8, 2),
    "ubinary_lsb": (np.uint8, 2),
    "int8_fixed": (np.int8, 16),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_decoded(call: Run, encoding: str) -> None:
    kind, width = DECODED[encoding]
    some = texts(10)
    found = call("embed", some, encoding=encoding)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, [decoded(text, encoding) for text in some])
    single = call("embed", some[0], encoding=encoding)
    assert single.dtype == kind and np.array_equal(single, found[0])
    empty = call("embed", [], encoding=encoding, dimensions=16)
    assert empty.dtype == kind and empty.shape == (0, width)


def test_a_single_text_is_a_single_vector(call: Run) -> None:
    assert call("embed", "one").tolist() == vector("one")
    assert call("embed", Document("one", "t")).shape == (4,)


def test_a_bad_text_is_named_with_its_place(call: Run) -> None:
    mixed = texts(20)
    mixed[3] = mixed[17] = "bad"
    with pytest.raises(InvalidInput) as caught:
        call("embed", mixed)
    assert sorted(caught.value.errors) == [3, 17]
    error = caught.value.errors[17]
    assert isinstance(error, InvalidInput) and error.index == 17 and error.reason == "BAD_TEXT"
    assert caught.value.index == 3 and "text 3" in str(caught.value)


def test_details_reach_the_caller(call: Run, scripted: Scripted) -> None:
    scripted.failures.append(status(grpc.StatusCode.INVALID_ARGUMENT, "EMPTY_TEXT"))
    with pytest.raises(InvalidInput) as caught:
        call("embed", "x")
    error = caught.value
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT and error.reason == "EMPTY_TEXT"
    assert error.metadata == {"figure": "7"} and error.fields == {"inputs[1].text": "bad"}
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("asked", [["one"], "one"], ids=["batch", "single"])
def test_overload_is_waited_out_when_the_server_says_how_long(
    call: Run, scripted: Scripted, asked: Any
) -> None:
    for _ in range(2):
        scripted.failures.append(status(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.05))
    started = time.monotonic()
    call("embed", asked)
    assert time.monotonic() - started >= 0.1
    assert len(scripted.requests) == 3


@pytest.mark.parametrize(
    "failure",
    [
        status(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA"),
        status(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 3600),
    ],
    ids=["no RetryInfo", "longer than the timeout"],
)
def test_overload_is_raised_where_waiting_does_not_help(
    call: Run, scripted: Scripted, failure: Any
) -> None:
    scripted.failures.append(failure)
    with pytest.raises(Overloaded):
        call("embed", "x", timeout=2.0)
    assert len(scripted.requests) == 1


def test_patience_ends(call: Run, scripted: Scripted) -> None:
    scripted.failures.extend([status(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.01)] * 50)
    with pytest.raises(Overloaded):
        call("embed", "x")
    assert len(scripted.requests) == 5


LOST = [
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
]


@pytest.mark.parametrize("code", LOST)
@pytest.mark.parametrize(
    "method,arguments",
    [
        ("embed", ["x"]),
        ("embed", [["x", "y"]]),
        ("similarity", ["x", ["y"]]),
        ("tokenize", ["x"]),
        ("detokenize", [[120]]),
    ],
)
def test_a_lost_call_is_made_again(
    call: Run, scripted: Scripted, code: grpc.StatusCode, method: str, arguments: list[Any]
) -> None:
    wanted = call(method, *arguments)
    scripted.failures.append(foreign(code))
    assert np.array_equal(call(method, *arguments), wanted)
    assert len(scripted.requests) == 3


def test_a_server_that_leaves_is_asked_again_at_once(call: Run, scripted: Scripted) -> None:
    scripted.failures.append(status(grpc.StatusCode.UNAVAILABLE, "DRAINING", 30.0))
    assert call("embed", "x", timeout=10.0).tolist() == vector("x")
    assert len(scripted.requests) == 2


@pytest.mark.parametrize("code", LOST)
def test_a_call_that_is_always_lost_is_not_made_for_ever(
    call: Run, scripted: Scripted, code: grpc.StatusCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.01)
    scripted.failures.extend([foreign(code)] * 100)
    with pytest.raises(ConnectionLost) as caught:
        call("embed", ["x"])  # asks for the model before: the server is known
    assert caught.value.code is code and "said in its place" in str(caught.value)
    assert len(scripted.requests) == 5, "neither more, nor five times by gRPC's own count"


def test_what_the_server_itself_failed_at_is_not_asked_again(call: Run, scripted: Scripted) -> None:
    scripted.failures.append(status(grpc.StatusCode.INTERNAL, "POISON_INPUT"))
    with pytest.raises(EngineFailure):
        call("embed", "x")
    assert len(scripted.requests) == 1


@pytest.mark.parametrize(
    "code,said,named",
    [
        (grpc.StatusCode.UNAVAILABLE, "upstream request timeout", "Envoy's route `timeout`"),
        (grpc.StatusCode.UNAVAILABLE, "stream timeout", "stream_idle_timeout"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "downstream duration timeout", "max_stream_duration"),
        (grpc.StatusCode.UNAVAILABLE, "Received http2 header with status: 504", "grpc_read"),
    ],
)
def test_a_proxys_time_limit_is_named_and_not_met_again(
    call: Run, scripted: Scripted, code: grpc.StatusCode, said: str, named: str
) -> None:
    scripted.failures.append(foreign(code, said))
    with pytest.raises(ProxyTimeout, match=named) as caught:
        call("embed", "x")
    assert said in str(caught.value) and caught.value.code is code
    assert len(scripted.requests) == 1


def test_a_request_that_is_too_large_for_a_proxy(call: Run, scripted: Scripted) -> None:
    said = "Received http2 header with status: 413"
    scripted.failures.append(foreign(grpc.StatusCode.UNKNOWN, said))
    with pytest.raises(GemwireError, match="client_max_body_size"):
        call("embed", "x")
    assert len(scripted.requests) == 1


def test_a_call_ends_at_its_deadline_where_a_server_stays_away() -> None:
    with scripted_server() as (_, address):
        client = Client(address, options=[("grpc.use_local_subchannel_pool", 1)])
        client.model()
    started = time.monotonic()
    with client, pytest.raises(Unavailable, match="no server was reached"):
        client.embed("x", timeout=3.0)
    assert time.monotonic() - started > 1.0, "it was there a moment ago"


@pytest.mark.parametrize("kind", ["unary", "batch", "stream"])
def test_a_call_of_a_client_that_is_closed_is_cancelled_and_not_made_again(
    server: tuple[Scripted, str], scripted: Scripted, kind: str
) -> None:
    scripted.silent = True
    scripted.hold = threading.Event()

    def embed(client: Client) -> None:
        with pytest.raises(GemwireError) as caught:
            if kind == "stream":
                list(client.embed_iter(["x"]))
            else:
                client.embed("x" if kind == "unary" else ["x"])
        assert caught.value.code is grpc.StatusCode.CANCELLED

    async def embed_async(client: AsyncClient) -> None:
        with pytest.raises(GemwireError) as caught:
            if kind == "stream":
                async for _ in client.embed_iter(["x"]):
                    pass
            else:
                await client.embed("x" if kind == "unary" else ["x"])
        assert caught.value.code is grpc.StatusCode.CANCELLED

    async def main() -> None:
        client = AsyncClient(server[1])
        call = asyncio.ensure_future(embed_async(client))
        await asyncio.sleep(0.3)
        await client.close()
        await call

    try:
        client = Client(server[1])
        thread = ThreadPoolExecutor(1).submit(embed, client)
        time.sleep(0.3)
        client.close()
        thread.result()
        asyncio.run(main())
    finally:
        scripted.hold.set()
    assert len(scripted.requests) == 2


def test_a_task_that_is_cancelled_is_not_called_again(
    server: tuple[Scripted, str], scripted: Scripted
) -> None:
    scripted.hold = threading.Event()

    async def main() -> None:
        async with AsyncClient(server[1]) as client:
            call = asyncio.ensure_future(client.embed("x"))
            await asyncio.sleep(0.3)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    try:
        asyncio.run(main())
    finally:
        scripted.hold.set()
    assert len(scripted.requests) == 1


def test_nobody_there() -> None:
    with Client("127.0.0.1:1", timeout=5) as client, pytest.raises(Unavailable):
        client.embed("x")


METHODS: dict[str, tuple[Any, ...]] = {
    "embed": (["x"],),
    "similarity": ("x", ["y"]),
    "embed_iter": (["x"],),
}


@pytest.fixture(params=["sync", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Run:
    """ask(address, "embed_iter", …, client={…}) makes a client and has it answer in full."""

    def with_sync(address: str, method: str, *args: Any, client: Any = None, **options: Any) -> Any:
        with Client(address, **(client or {})) as made:
            answer = getattr(made, method)(*args, **options)
            return list(answer) if method == "embed_iter" else answer

    def with_asyncio(
        address: str, method: str, *args: Any, client: Any = None, **options: Any
    ) -> Any:
        async def main() -> Any:
            async with AsyncClient(address, **(client or {})) as made:
                answer = getattr(made, method)(*args, **options)
                if method == "embed_iter":
                    return [vector async for vector in answer]
                return await answer

        return asyncio.run(main())

    return with_sync if request.param == "sync" else with_asyncio


def test_the_timeout_is_a_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Client(address, timeout=0.3) as client, pytest.raises((DeadlineExceeded, Unavailable)):
            client.embed("x")


@pytest.mark.parametrize("method", METHODS)
def test_the_timeout_of_a_method_is_that_of_what_it_asks_first(
    server: tuple[Scripted, str], ask: Run, method: str
) -> None:
    server[0].hold_model.clear()
    release = threading.Timer(5.0, server[0].hold_model.set)
    release.start()
    try:
        with pytest.raises(DeadlineExceeded):
            ask(server[1], method, *METHODS[method], timeout=0.3)
    finally:
        release.cancel()
        server[0].hold_model.set()


@pytest.mark.parametrize("timeout", [float("inf"), 1e12])
def test_a_timeout_without_an_end(server: tuple[Scripted, str], ask: Run, timeout: float) -> None:
    assert len(ask(server[1], "embed", ["x"], timeout=timeout)) == 1
    assert len(ask(server[1], "embed", ["x"], client={"timeout": timeout})) == 1
    assert len(ask(server[1], "embed_iter", ["x"], timeout=timeout)) == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_timeout_that_is_no_number(server: tuple[Scripted, str], ask: Run, method: str) -> None:
    with pytest.raises(ValueError, match="timeout"):
        ask(server[1], method, *METHODS[method], timeout=float("nan"))


@pytest.mark.parametrize("text", ["ab", Document("ab", "title")])
def test_one_text_where_many_belong_is_not_taken_letter_by_letter(
    server: tuple[Scripted, str], ask: Run, text: Any
) -> None:
    for method, arguments in [("embed_iter", (text,)), ("similarity", ("x", text))]:
        with pytest.raises(ValueError, match="a list of texts"):
            ask(server[1], method, *arguments)


@pytest.mark.parametrize("token", ["s3cret\n", "s3crét", "s3\0cret"])
def test_a_token_that_no_header_takes(server: tuple[Scripted, str], ask: Run, token: str) -> None:
    with pytest.raises(ValueError, match="the token") as caught:
        ask(server[1], "embed", "x", client={"token": token})
    assert "s3" not in str(caught.value)


def test_an_address_that_is_none_is_said_at_once(ask: Run) -> None:
    with pytest.raises(GemwireError, match="the target uri is not valid") as caught:
        ask("", "embed", "x")
    assert not isinstance(caught.value, Unavailable)


def test_a_name_that_nobody_knows_is_no_lost_connection(ask: Run) -> None:
    """A server that restarts may be out of the DNS for a while: it is waited for."""
    with pytest.raises(ConnectionLost, match="no server was reached") as caught:
        ask("dns:///nobody.invalid:50051", "embed", "x", timeout=20.0)
    assert not caught.value.in_flight


@pytest.mark.parametrize("method", METHODS)
def test_a_client_that_was_closed(server: tuple[Scripted, str], method: str) -> None:
    client = Client(server[1])
    client.model()
    client.close()
    with pytest.raises(GemwireError, match="the client was closed"):
        list(getattr(client, method)(*METHODS[method]))


@pytest.mark.parametrize("method", METHODS)
def test_a_client_that_another_thread_closes(
    server: tuple[Scripted, str], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the moment between its own look and gRPC's."""
    client = Client(server[1])
    client.model()
    check = client._connection._check_open

    def check_and_close() -> None:
        check()
        client.close()

    monkeypatch.setattr(client._connection, "_check_open", check_and_close)
    with pytest.raises(GemwireError, match="the client was closed"):
        list(getattr(client, method)(*METHODS[method]))


def test_the_token_is_sent(call: Run, scripted: Scripted) -> None:
    call("embed", "x", client={"token": "s3cret"})
    assert scripted.metadata[0]["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(
    "options,named",
    [
        ({"task": "nonsense"}, "retrieval_query"),
        ({"truncation": "middle"}, "start"),
        ({"encoding": "float8"}, "int8"),
        ({"task": "clustering", "prompt": "p"}, "exclude"),
    ],
)
def test_a_wrong_word_names_the_right_ones(call: Run, options: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call("embed", "x", **options)


def test_a_lone_surrogate_is_refused_before_it_is_sent(call: Run, scripted: Scripted) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        call("embed", ["fine", "\ud800"])
    assert scripted.requests == []


def test_both_clients_offer_the_same() -> None:
    def offered(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in vars(kind).items()
            if not name.startswith("_") and callable(member)
        }

    assert offered(Client) == offered(AsyncClient)
    assert issubclass(InvalidInput, GemwireError)
