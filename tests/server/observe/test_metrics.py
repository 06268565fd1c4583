"""Metrics: counts that balance whatever happened, in one process and in several."""

import json
import re
import socket
import threading
import urllib.error
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.interface import Output
from gemwire_server.processes.single import background_application
from gemwire_server.runners.cpu import CpuRunner
from gemwire_server.security import tokens
from support.harness import failure, running, text
from support.held_device import WAIT, HeldDevice
from support.scrape import Page, at_rest, get, scrape, scrape_until
from uninstalled import ROOT

ANYWHERE = "127.0.0.1:0"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
SECRET = "averyprivatetext"


def _ended(page: Page, method: str) -> dict[str, float]:
    codes = page.labels("gemwire_calls_ended_total", "code")
    counted = {
        code: page.total("gemwire_calls_ended_total", method=method, code=code) for code in codes
    }
    return {code: count for code, count in counted.items() if count}


def test_counts_balance_after_calls_of_every_kind(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(
        str(tiny_checkpoint), metrics_address=ANYWHERE, max_queue_tokens=128, max_batch_tokens=128
    ) as served:
        address, embed = served.metrics_address, served.embedding.Embed
        embed(pb.EmbedRequest(input=text(SECRET)), metadata=(("x-request-id", SECRET),))
        ids = [pb.EmbedInput(tokens=pb.TokenIds(ids=[5])), pb.EmbedInput(text="")]
        served.embedding.BatchEmbed(pb.BatchEmbedRequest(inputs=ids))
        with pytest.raises(grpc.RpcError):
            embed(pb.EmbedRequest(input=text("a"), options=pb.EmbedOptions(model="another")))

        device.hold()
        first = embed.future(pb.EmbedRequest(input=text("first")))
        device.wait_until_running()
        late = embed.future(pb.EmbedRequest(input=text("late")), timeout=0.3)
        gone = embed.future(pb.EmbedRequest(input=text("gone")))
        scrape_until(address, lambda page: page.total("gemwire_engine_texts") == 3)
        page = scrape(address)
        assert not page.imbalance()
        assert page.total("gemwire_queue_tokens") > 0
        assert page.total("gemwire_calls_in_flight", method="Embed") == 3
        gone.cancel()
        with pytest.raises(grpc.RpcError):
            late.result(timeout=WAIT)
        waiting = scrape_until(address, lambda page: page.total("gemwire_calls_in_flight") == 1)
        assert not waiting.imbalance()
        assert waiting.total("gemwire_queue_tokens") == 0
        too_much = pb.BatchEmbedRequest(inputs=[text("word " * 60)] * 20)
        with pytest.raises(grpc.RpcError) as caught:
            served.embedding.BatchEmbed(too_much)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        refused = failure(caught.value).reason
        device.release()
        first.result(timeout=WAIT)

        opened = pb.EmbedStreamRequest(open=pb.StreamOpen())
        batch = pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[text("x"), text("y")]))
        list(served.embedding.EmbedStream(iter([opened, batch, batch])))

        page = scrape_until(address, at_rest)
        assert not page.imbalance()
        assert _ended(page, "Embed") == {
            "OK": 2,
            "NOT_FOUND": 1,
            "CANCELLED": 1,
            "DEADLINE_EXCEEDED": 1,
        }
        assert _ended(page, "BatchEmbed") == {"OK": 1, "INVALID_ARGUMENT": 1}
        assert _ended(page, "EmbedStream") == {"OK": 1}
        assert page.labels("gemwire_calls_failed_total", "reason") == {"MODEL_NOT_FOUND", refused}
        assert page.total("gemwire_texts_failed_total", reason="EMPTY_TEXT") == 1
        assert page.total("gemwire_texts_total", method="EmbedStream") == 4
        assert page.total("gemwire_engine_texts_dropped_total") == 2
        # gRPC may cancel what is late before the engine sees that it is.
        reasons = page.labels("gemwire_engine_texts_dropped_total", "reason")
        assert "cancelled" in reasons and reasons <= {"cancelled", "expired"}
        assert page.total("gemwire_call_duration_seconds_count") == 8
        assert page.total("gemwire_step_seconds_count") >= 4
        assert page.total("gemwire_queue_wait_seconds_count") >= 4
        assert page.total("gemwire_event_loop_lag_seconds_count") > 0
        body = get(address, "/metrics")
        assert SECRET not in body and "127.0.0.1" not in body


def test_counts_balance_after_poison_and_a_lost_device(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CpuRunner.run

    def poisoned(
        runner: CpuRunner, batch: "object", output: Output
    ) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
        if 77 in batch.input_ids:  # type: ignore[attr-defined]
            raise RuntimeError("broken on purpose")
        vectors = run(runner, batch, output)  # type: ignore[arg-type]
        if 78 in batch.input_ids:  # type: ignore[attr-defined]
            vectors[:] = np.nan
        return vectors

    def raw(*ids: int) -> pb.EmbedInput:
        return pb.EmbedInput(tokens=pb.TokenIds(ids=[2, *ids, 1], complete=True))

    with running(str(tiny_checkpoint), metrics_address=ANYWHERE) as served:
        before = scrape(served.metrics_address)  # with the text of the warm-up
        monkeypatch.setattr(CpuRunner, "run", poisoned)
        inputs = [raw(40), raw(77), raw(41), raw(42)]
        results = served.embedding.BatchEmbed(pb.BatchEmbedRequest(inputs=inputs)).results
        assert [r.HasField("error") for r in results] == [False, True, False, False]
        with pytest.raises(grpc.RpcError):
            served.embedding.Embed(pb.EmbedRequest(input=raw(78)))
        page = scrape_until(served.metrics_address, at_rest)
        assert not page.imbalance()
        assert page.total("gemwire_engine_texts_dropped_total", reason="poison") == 2
        name = "gemwire_engine_texts_ended_total"
        assert page.total(name) - before.total(name) == 3
        assert page.total("gemwire_texts_failed_total", reason="POISON_INPUT") == 2
        assert page.total("gemwire_calls_failed_total", reason="POISON_INPUT") == 1


def test_callers_without_a_token_and_a_bad_tokens_file_are_counted(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "LOOK_SECONDS", 0.0)
    file = tmp_path / "tokens"
    token, line = tokens.make("somebody")
    file.write_text(f"{line}\n")
    bearer = (("authorization", f"Bearer {token}"),)
    with running(str(tiny_checkpoint), metrics_address=ANYWHERE, tokens_file=str(file)) as served:
        request = pb.EmbedRequest(input=text("a"))
        served.embedding.Embed(request, metadata=bearer)
        with pytest.raises(grpc.RpcError):
            served.embedding.Embed(request)
        file.write_text("this is no tokens file\n")
        served.embedding.Embed(request, metadata=bearer)
        page = scrape_until(served.metrics_address, at_rest)
        assert not page.imbalance()
        assert _ended(page, "Embed") == {"OK": 2, "UNAUTHENTICATED": 1}
        assert page.total("gemwire_security_reload_failures_total", kind="tokens") == 1
        assert "somebody" not in get(served.metrics_address, "/metrics")


def test_unknown_methods_make_no_series(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), metrics_address=ANYWHERE) as served:
        before = get(served.metrics_address, "/metrics")
        for path in ("/gemwire.v1.EmbeddingService/Nothing", "/nobody/Here"):
            with pytest.raises(grpc.RpcError):
                unknown: Any = served.channel.unary_unary(path)
                unknown(b"")
        after = get(served.metrics_address, "/metrics")
        assert _names(before) == _names(after)
        assert "Nothing" not in after


def _names(page: str) -> set[str]:
    return set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))


def test_the_page_says_whether_the_server_serves(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    config = ServerConfig(model=str(tiny_checkpoint), address=ANYWHERE, metrics_address=ANYWHERE)
    with background_application(config) as app:
        assert get(app.metrics_address, "/readyz") == get(app.metrics_address, "/healthz") == "OK\n"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(app.metrics_address, "/")
        app._engine_died()
        scrape_until(app.metrics_address, lambda page: not page.total("gemwire_engines_serving"))
        deadline = threading.Event()
        while not deadline.wait(0.01):
            try:
                get(app.metrics_address, "/readyz")
            except urllib.error.HTTPError as error:
                assert error.code == 503
                break
        assert get(app.metrics_address, "/healthz") == "OK\n"
    with pytest.raises(OSError):
        get(app.metrics_address, "/healthz")
    assert device.computed_texts


def test_a_taken_metrics_address_is_one_clear_line(tiny_checkpoint: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"cannot listen on {address} for metrics: .*in use"):
            with running(str(tiny_checkpoint), metrics_address=address):
                pass


def test_a_silent_reader_does_not_hold_up_others(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), metrics_address=ANYWHERE) as served:
        host, _, port = served.metrics_address.rpartition(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(4)]
        try:
            assert scrape(served.metrics_address).samples
        finally:
            for connection in silent:
                connection.close()


def test_every_metric_is_on_the_dashboard(tiny_checkpoint: Path) -> None:
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked = {name for target in targets for name in re.findall(r"gemwire_[a-z_]+", target["expr"])}
    with running(str(tiny_checkpoint), metrics_address=ANYWHERE) as served:
        page = get(served.metrics_address, "/metrics")
    kinds = dict(re.findall(r"^# TYPE (gemwire_\S+) (\S+)", page, re.MULTILINE))
    exported = {
        f"{name}{suffix}": name
        for name, kind in kinds.items()
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }
    assert asked <= set(exported), "the dashboard asks for what no server exports"
    shown = {exported[name] for name in asked}
    assert set(kinds) - shown == set(), "exported, and on no panel"
    for target in targets:
        expression = target["expr"]
        assert expression.count("(") == expression.count(")")
        for counter in re.findall(r"gemwire_\w+_(?:total|bucket|sum|count)\b", expression):
            assert re.search(rf"(rate|increase)\({counter}", expression), expression
        for bucket in re.findall(r"gemwire_\w+_bucket", expression):
            assert re.search(rf"sum by \([a-z, ]*le[a-z, ]*\) \(rate\({bucket}", expression)
