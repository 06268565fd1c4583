"""Logs: lines that name their call and never hold a text; request ids there and back."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.observe.logs import JsonFormatter, TextFormatter
from gemwire_server.text.tokenizer import Tokenizer
from support.harness import running, text

SECRET = "averyprivatetext"


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def _logged(formatter: logging.Formatter) -> Iterator[list[str]]:
    """Collects the server's log records, of every level."""
    handler = _Lines()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler.lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _trailer(call: Any) -> str:
    trailers = {key: value for key, value in call.trailing_metadata()}
    return str(trailers["x-request-id"])


def _break_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Tokenizer, value: str, **options: object) -> None:
        raise RuntimeError(f"cannot tokenize {value}")

    monkeypatch.setattr(Tokenizer, "encode", broken)


def test_every_ended_call_is_a_line_of_json_without_its_text(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _logged(JsonFormatter()) as lines, running(str(tiny_checkpoint)) as served:
        embed = served.embedding.Embed
        own = (("x-request-id", "mine-7"),)
        _, ok = embed.with_call(pb.EmbedRequest(input=text(SECRET)), metadata=own)
        long = text(f"{SECRET} " * 3000)
        with pytest.raises(grpc.RpcError) as refused:
            embed(pb.EmbedRequest(input=long))
        opened = pb.EmbedStreamRequest(open=pb.StreamOpen())
        batch = pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[text(SECRET), long]))
        list(served.embedding.EmbedStream(iter([opened, batch])))
        _break_tokenizer(monkeypatch)
        with pytest.raises(grpc.RpcError) as failed:
            embed(pb.EmbedRequest(input=text(SECRET)), metadata=(("x-request-id", "mine-8"),))
        with pytest.raises(grpc.RpcError) as failed_stream:
            list(served.embedding.EmbedStream(iter([opened, batch])))
        monkeypatch.undo()

    records = [json.loads(line) for line in lines]
    for record in records:
        assert record.keys() >= {"time", "level", "logger", "message"}
    ended = {record["request_id"]: record for record in records if "seconds" in record}
    assert len(ended) == 5
    told = ended["mine-7"]
    assert told["method"] == "gemwire.v1.EmbeddingService.Embed"
    assert (told["level"], told["code"], told["texts"]) == ("debug", "OK", 1)
    assert told["tokens"] > 0 and 0 < told["seconds"] < 60
    assert ended[_trailer(refused.value)]["reason"] == "TEXT_TOO_LONG"
    for error, caller in ((failed, "mine-8"), (failed_stream, _trailer(failed_stream.value))):
        errors = [
            record
            for record in records
            if record["level"] == "error" and record["request_id"] == caller
        ]
        assert len(errors) == 1 and "RuntimeError" in errors[0]["message"]
        assert _request_id(error.value) == caller
    assert _trailer(ok) == "mine-7"
    assert SECRET not in "\n".join(lines)


def _request_id(error: grpc.RpcError) -> str:
    """The reason in ErrorInfo."""
    assert isinstance(error, grpc.Call)
    trailers = {key: value for key, value in error.trailing_metadata()}
    info = error_details_pb2.ErrorInfo()
    Status.FromString(trailers["grpc-status-details-bin"]).details[0].Unpack(info)
    return str(info.metadata["request_id"])


def test_lines_of_text_have_the_request_id(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _logged(TextFormatter()) as lines, running(str(tiny_checkpoint)) as served:
        logging.getLogger("gemwire_server").info("of no call")
        _break_tokenizer(monkeypatch)
        with pytest.raises(grpc.RpcError):
            served.embedding.Embed(
                pb.EmbedRequest(input=text(SECRET)), metadata=(("x-request-id", "mine-9"),)
            )
        monkeypatch.undo()
    (error,) = [line for line in lines if " ERROR " in line]
    assert " [mine-9] gemwire.v1.EmbeddingService.Embed: " in error and "RuntimeError" in error
    (other,) = [line for line in lines if "of no call" in line]
    assert other.endswith("gemwire_server of no call")
    assert SECRET not in "\n".join(lines)


@pytest.mark.parametrize("asked", ["x" * 129, "tab\there"])
def test_a_request_id_that_would_not_fit_a_line_is_replaced(
    tiny_checkpoint: Path, asked: str
) -> None:
    with running(str(tiny_checkpoint)) as served:
        request = pb.EmbedRequest(input=text("a"))
        try:
            _, call = served.embedding.Embed.with_call(request, metadata=(("x-request-id", asked),))
        except grpc.RpcError:  # gRPC itself may refuse what is no ASCII
            return
        assert _trailer(call) != asked and _trailer(call).isalnum()
