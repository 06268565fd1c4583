"""The books of a stream alone: no sockets, no clock, every message by hand."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.status_pb2 import Status

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client.errors import (
    ConnectionLost,
    DeadlineExceeded,
    GemwireError,
    InvalidInput,
    Overloaded,
    ProxyTimeout,
    Unavailable,
)
from gemwire_client.exchange import Exchange
from gemwire_client.patience import Patience
from gemwire_client.requests import Limits, text_input
from support.scripted import status

LIMITS = Limits(8, 200_000, 0, 0, 16)
GONE = Unavailable("gone", code=grpc.StatusCode.UNAVAILABLE)
EXPIRED = DeadlineExceeded("expired", code=grpc.StatusCode.DEADLINE_EXCEEDED)
DRAINING = status(grpc.StatusCode.UNAVAILABLE, "DRAINING", 0.5)
FULL = status(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.5)


def opened(credit: int = 16) -> pb.EmbedStreamResponse:
    return pb.EmbedStreamResponse(opened=pb.StreamOpened(max_inflight_inputs=credit))


def answered(*ids: int, **errors: Status) -> pb.EmbedStreamResponse:
    """Results for ids; text_7=status is an error for 7."""
    results = [
        pb.StreamResult(
            id=i, embedding=pb.Embedding(values=[i], encoding="VECTOR_ENCODING_FLOAT32")
        )
        for i in ids
    ]
    results += [
        pb.StreamResult(id=int(name.removeprefix("text_")), error=error)
        for name, error in errors.items()
    ]
    return pb.EmbedStreamResponse(
        results=pb.StreamResults(results=results, granted_inputs=len(results))
    )


def go_away(seconds: int) -> pb.EmbedStreamResponse:
    leave = pb.StreamGoAway(reconnect_after=Duration(seconds=seconds))
    return pb.EmbedStreamResponse(go_away=leave)


def exchange(credit: int | None = 16, *, texts: int = 0, ends: bool = False) -> Exchange:
    """One whose stream is open, unless `credit` is None, and that has sent so many texts."""
    made = Exchange(LIMITS, Patience())
    if credit is not None:
        made.receive(opened(credit))
    for _ in range(texts):
        made.add(text_input("x"))
    made.source_ended = ends
    assert len(sent(made)) == texts
    return made


def read_all_wanted(books: Exchange) -> int:
    count = 0
    while books.wanted:
        books.add(text_input("x"))
        count += 1
    return count


def sent(books: Exchange) -> list[int]:
    ids: list[int] = []
    while (message := books.next_batch()) is not None:
        batch = message.batch
        assert len(batch.inputs) <= LIMITS.max_inputs_per_request
        ids += range(batch.first_id, batch.first_id + len(batch.inputs))
    return ids


def ready(books: Exchange) -> list[int | GemwireError]:
    return [a if isinstance(a, GemwireError) else int(a[0]) for _, a in books.ready()]


def test_nothing_is_read_or_sent_before_the_server_opens() -> None:
    books = exchange(None)
    assert not books.wanted and not books.sending_done and books.waiting
    books = exchange(texts=8, ends=True)
    books.ended(GONE)
    books.begin()
    assert sent(books) == [] and not books.sending_done
    books.receive(opened())
    assert sent(books) == list(range(8))


def test_a_stream_is_half_closed_when_all_it_was_sent_is_answered() -> None:
    books = exchange(texts=3, ends=True)
    books.receive(answered(0, 2))
    assert not books.sending_done
    books.receive(answered(1))
    assert books.sending_done
    books = exchange(texts=3)
    books.receive(go_away(1))
    books.receive(answered(0, 2))
    assert not books.sending_done and not books.wanted
    books.receive(answered(text_1=DRAINING))
    assert books.sending_done


def test_order() -> None:
    books = exchange(texts=4)
    books.receive(answered(3, 1))
    assert ready(books) == []
    books.receive(answered(0))
    assert ready(books) == [0, 1]
    books.receive(answered(2))
    assert ready(books) == [2, 3]


@pytest.mark.parametrize("credit", [1, 2, 5, 8, 16, 100])
def test_reads_as_far_as_there_is_credit_and_no_further(credit: int) -> None:
    books = exchange(credit)
    read = 0
    while books.wanted:
        read += read_all_wanted(books)
        sent(books)
    assert read == credit


def test_a_text_that_takes_long_does_not_make_the_others_pile_up_behind_it() -> None:
    books = exchange(texts=1)
    read = 1
    for _ in range(50):
        read += read_all_wanted(books)
        ids = sent(books)
        if ids:
            books.receive(answered(*ids))
    assert read <= 16
    books.receive(answered(0))
    assert ready(books) == list(range(read)) and books.wanted


@pytest.mark.parametrize("failure", [DRAINING, FULL], ids=["draining", "no room"])
def test_a_text_refused_for_now_is_sent_on_the_next_stream_after_the_servers_delay(
    failure: Status,
) -> None:
    books = exchange(texts=4)
    books.receive(answered(0, 3, text_1=failure))
    assert not books.wanted and ready(books) == [0]
    books.receive(answered(2))  # the rest of what was sent is still answered
    assert 0.5 <= books.ended(None) <= 0.7
    books.begin()
    books.receive(opened())
    assert sent(books) == [1]
    books.receive(answered(1))
    assert ready(books) == [1, 2, 3]


def test_a_text_refused_for_good_is_answered_with_its_error() -> None:
    books = exchange(texts=3)
    quota = status(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA")
    invalid = status(grpc.StatusCode.INVALID_ARGUMENT, "EMPTY_TEXT")
    books.receive(answered(1, text_0=quota, text_2=invalid))
    first, second, third = ready(books)
    assert isinstance(first, Overloaded) and first.index == 0 and second == 1
    assert isinstance(third, InvalidInput) and third.index == 2
    assert not books.sending_done


def test_a_text_that_is_always_refused_ends_with_its_error_though_others_get_on() -> None:
    books = exchange(texts=0)
    streams, answers = 1, ready(books)
    while not answers:
        assert streams < 20
        if books.wanted:
            books.add(text_input("x"))
        ids = [i for i in sent(books) if i]
        books.receive(answered(*ids, text_0=DRAINING))
        answers = ready(books)
        if not answers:
            books.ended(None)
            books.begin()
            books.receive(opened())
            streams += 1
    assert isinstance(answers[0], Unavailable) and streams == Patience().attempts


def test_a_text_that_breaks_every_stream_it_is_on_is_not_sent_for_ever() -> None:
    books = exchange()
    streams = 0
    with pytest.raises(Unavailable):
        while streams < 20:
            streams += 1
            if books.wanted:  # another text each time, which is answered: there is progress
                books.add(text_input("x"))
            books.receive(answered(*[i for i in sent(books) if i]))
            books.ended(GONE)
            books.begin()
            books.receive(opened())
    assert streams == Patience().attempts


def test_a_server_is_waited_for_as_long_as_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time counts from the loss of the server, however long the source was silent before."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    books = Exchange(LIMITS, Patience(), timeout=60.0)
    books.receive(opened())
    now += 3600.0
    pauses: list[float] = []
    with pytest.raises(Unavailable):
        while len(pauses) < 100:
            pauses.append(books.ended(GONE))
            now += pauses[-1]
            books.begin()
    assert sum(pauses[1:]) == pytest.approx(60.0)


def test_a_server_may_be_away_for_days() -> None:
    books = exchange(None)
    for _ in range(5000):
        assert books.ended(GONE) <= 5.0 * 1.3
        books.begin()


def test_absences_are_no_failures_of_the_server_that_comes_back() -> None:
    books = exchange(texts=1)
    for _ in range(20):
        books.ended(GONE)
        books.begin()
    books.receive(opened())
    sent(books)
    assert books.ended(GONE) < 1.0


def test_the_log_says_that_one_waits_for_a_server(caplog: pytest.LogCaptureFixture) -> None:
    books = exchange(None)
    for _ in range(20):
        books.ended(GONE)
        books.begin()
    assert [record.getMessage() for record in caplog.records] == ["gone; trying on"]


def test_a_server_that_leaves_is_left_alone_as_long_as_it_says() -> None:
    books = exchange(texts=2)
    books.receive(go_away(7))
    books.receive(answered(0, 1))
    assert books.ended(None) == 7.0


@pytest.mark.parametrize(
    "ages,recognized",
    [([1.0, 1.05], True), ([1.0, 3.0, 1.0, 1.0], True), ([0.1, 0.1], False), ([1.0, 2.0], False)],
)
@pytest.mark.parametrize("by_the_server", [False, True])
def test_a_clock_that_cuts_streams_is_recognized(
    ages: list[float], recognized: bool, by_the_server: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    books = exchange(texts=4)
    lost = ConnectionLost("cut", code=grpc.StatusCode.INTERNAL)
    lost.reset = True
    cut = EXPIRED if by_the_server else lost
    try:
        for age in ages:
            now += age
            books.ended(cut)
            books.begin()
            books.receive(opened())
            sent(books)
    except ProxyTimeout as error:
        assert recognized and "grpc_read_timeout" in str(error)
    else:
        assert not recognized


@pytest.mark.parametrize("by_the_server", [False, True])
def test_streams_that_are_cut_by_a_clock_but_get_on_are_resumed(by_the_server: bool) -> None:
    """Envoy tells the server when: then the server may be the one that ends them."""
    books = exchange()
    lost = ConnectionLost("cut", code=grpc.StatusCode.INTERNAL)
    lost.reset = True
    cut = EXPIRED if by_the_server else lost
    for _ in range(20):
        books.add(text_input("x"))
        books.receive(answered(*sent(books)))
        assert books.ended(cut) < 0.5
        books.begin()
        books.receive(opened())


def test_streams_that_are_cut_while_the_source_is_slow_are_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    books = exchange()
    cut = ConnectionLost("cut", code=grpc.StatusCode.INTERNAL)
    cut.reset = True
    for _ in range(20):
        now += 300.0
        assert books.ended(cut) < 0.5
        books.begin()
        books.receive(opened())
    with pytest.raises(ConnectionLost):  # cut at once each time, that is no matter of patience
        for _ in range(20):
            books.ended(cut)
            books.begin()
            books.receive(opened())


def test_a_deadline_that_the_stream_did_not_bring_is_a_proxys() -> None:
    """Envoy tells the server how long it lets a stream last, as if the caller had said it."""
    expired = status(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    books = exchange(texts=2)
    for stream in range(Patience().attempts):
        assert ready(books) == [0] * (stream == 1)
        books.receive(answered(*[0] * (not stream), text_1=expired))
        books.ended(None)
        books.begin()
        books.receive(opened())
        sent(books)
    (last,) = ready(books)
    assert isinstance(last, ProxyTimeout) and last.index == 1


def test_servers_that_only_leave_are_not_asked_for_ever() -> None:
    books = exchange()
    with pytest.raises(Unavailable):
        for _ in range(20):
            books.receive(go_away(0))
            books.ended(None)
            books.begin()
            books.receive(opened())


def test_a_stream_that_ends_after_the_last_answer_is_well_whatever_its_status() -> None:
    books = exchange(texts=2, ends=True)
    books.receive(answered(0, 1))
    assert books.ended(GONE) == 0.0 and books.finished


def test_an_error_another_stream_would_meet_again_is_raised() -> None:
    books = exchange(texts=2)
    with pytest.raises(InvalidInput):
        books.ended(InvalidInput("no", code=grpc.StatusCode.INVALID_ARGUMENT))


def test_a_refusal_that_comes_twice_counts_once() -> None:
    books = exchange(texts=2, ends=True)
    books.receive(answered(text_0=DRAINING))
    books.receive(answered(text_0=DRAINING))
    assert not books.sending_done  # text 1 is due
    books.receive(answered(1))
    assert books.sending_done


def test_an_answer_that_comes_twice_counts_once() -> None:
    books = exchange(texts=2)
    books.receive(answered(0, 0))
    assert ready(books) == [0]
