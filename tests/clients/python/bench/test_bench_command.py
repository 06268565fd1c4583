"""`gemwire bench` as it is run."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faults.under_test import UnderTest, under_test
from gemwire_bench.golden import Golden
from gemwire_bench.records import counts
from gemwire_bench.result import histogram
from support.calling import gemwire, one_line

SLO_MISSED, INVALID = 3, 4
# A machine that is busy with something else makes a client late, and a result invalid.
DONE = (0, INVALID)
SHORT = ("--seconds", "2", "--warm-up", "0.3", "--rate", "25", "--tokens", "16")


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path) -> Iterator[UnderTest]:
    settings = {"step_seconds": 0.02}
    with under_test(tiny_checkpoint, engine="thread", settings=settings) as running:
        yield running


def bench(
    server: UnderTest, path: Path, *flags: str
) -> "tuple[subprocess.CompletedProcess[str], dict[str, Any]]":
    flags = (*SHORT, *flags, "--server", server.address, "-o", str(path / "result.json"))
    done = gemwire("bench", *flags)
    assert done.returncode in (*DONE, SLO_MISSED), done.stderr
    return done, json.loads((path / "result.json").read_text())


def test_a_result_has_it_all(server: UnderTest, tmp_path: Path) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "picture.png"
    flags = ("--slo", "p90=5s", "--workers", "2", "--html", str(page), "--png", str(picture))
    done, found = bench(server, tmp_path, *flags)
    assert found["schema"] == "gemwire-bench/1"
    (step,) = found["steps"]
    figures = step["all"]
    assert figures["ok"] == figures["samples"] > 20 and figures["codes"] == {"OK": figures["ok"]}
    assert 16 * figures["ok"] < figures["tokens_per_second"] * 2 < 40 * figures["ok"]
    for phase in ("latency", "service", "lag", "queue", "compute", "server"):
        assert figures[phase]["samples"] == figures["ok"], phase
    assert figures["latency"]["p50"] >= figures["service"]["p50"] > figures["compute"]["p50"] >= 19
    assert figures["latency"]["p99.9"] is None
    values, found_counts = counts(histogram(step, "latency"))
    assert found_counts.sum() == figures["ok"] and len(values)
    by_second = [
        sum(counts(histogram({"histograms": part}, "latency"))[1])
        for part in step["by_second"].values()
    ]
    assert sum(by_second) == figures["ok"] and len(by_second) == 2
    assert step["golden"]["checked"] > 0 and step["golden"]["worst"] < 1e-6
    assert found["environment"]["server"]["limits"]["max_queue_tokens"] > 0
    assert step["slo"][0]["met"] and step["slo"][0]["share"] == 1
    html = page.read_text()
    assert "<svg" in html and "http://" not in html.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "")
    assert "<script" not in html and "<link" not in html and "src=" not in html
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "golden" in done.stdout and not done.stderr
    compared = gemwire("bench", "compare", *[str(tmp_path / "result.json")] * 2)
    assert compared.returncode == 0 and "p50 ms" in compared.stdout
    report = gemwire("bench", "report", str(tmp_path / "result.json"), "--html", str(page))
    assert report.returncode == 0


def test_the_same_seed_sends_the_same(server: UnderTest, tmp_path: Path) -> None:
    digests = [
        bench(server, tmp_path, "--seconds", "0.5", "--seed", seed)[1]["steps"][0]["schedule"]
        for seed in ("1", "1", "2")
    ]
    assert digests[0] == digests[1] != digests[2]


def test_classes_in_one_run(server: UnderTest, tmp_path: Path) -> None:
    mix = (
        "interactive share=6 tokens=uniform:4:8 task=retrieval_query deadline=5",
        "batches share=1 mode=batch texts=8",
        "bulk share=2 mode=stream texts=4 task=retrieval_document priority=-5",
    )
    flags = [flag for one in mix for flag in ("--class", one)]
    _, found = bench(server, tmp_path, *flags, "--slo", "interactive:p50=5s")
    by_class = found["steps"][0]["by_class"]
    assert set(by_class) == {"interactive", "batches", "bulk"}
    for name, texts in (("interactive", 1), ("batches", 8), ("bulk", 1)):
        figures = by_class[name]
        assert figures["ok"] == figures["samples"] > 0, name
        assert figures["texts_per_second"] == pytest.approx(texts * figures["ok_per_second"])
    assert by_class["bulk"]["samples"] % 4 == 0  # a sample a text


def test_a_closed_loop_is_the_ceiling(server: UnderTest, tmp_path: Path) -> None:
    for mode in ("unary", "stream"):
        _, found = bench(server, tmp_path, "--callers", "3", "--mode", mode, "--rate", "10")
        figures = found["steps"][0]["all"]
        assert figures["ok"] == figures["samples"] > 30
        assert found["steps"][0]["callers"] == 3 and found["steps"][0]["rate"] is None


def test_a_missed_promise_is_an_exit_code(server: UnderTest, tmp_path: Path) -> None:
    done, found = bench(server, tmp_path, "--slo", "p50=5ms")
    assert done.returncode == (SLO_MISSED if found["valid"] else INVALID)
    assert "MISSED" in done.stdout and found["steps"][0]["slo"][0]["goodput"] == 0


def test_refusals_are_told_apart(server: UnderTest, tmp_path: Path) -> None:
    _, found = bench(server, tmp_path, "--deadline", "0.001")
    figures = found["steps"][0]["all"]
    assert figures["ok"] == 0
    assert figures["expired"] + figures["rejected"] == figures["samples"] > 0


def test_a_fast_wrong_server_fails(server: UnderTest, tmp_path: Path) -> None:
    golden = tmp_path / "golden.json"
    flags = ("--server", server.address, "--write-golden", str(golden))
    assert gemwire("bench", *flags).returncode == 0
    _, found = bench(server, tmp_path, "--golden", str(golden))
    assert not any("wrong" in said for said in found["accusations"])
    right = Golden.read(golden)
    vectors = np.roll(right.vectors, 1, axis=1)
    golden.write_text(Golden(right.texts, vectors, "").to_json())
    done, found = bench(server, tmp_path, "--golden", str(golden))
    assert done.returncode == INVALID and "the vectors are wrong" in done.stdout


def test_lines_and_a_corpus(server: UnderTest, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a\nthe cat sat\n\n")
    (tmp_path / "corpus").write_text("The quick brown fox jumps over the lazy dog.\n" * 20)
    for flags in (("--lines", str(tmp_path / "lines")), ("--corpus", str(tmp_path / "corpus"))):
        _, found = bench(server, tmp_path, *flags)
        assert found["steps"][0]["all"]["ok"] == found["steps"][0]["all"]["samples"] > 0


def test_a_sweep_finds_the_knee(server: UnderTest, tmp_path: Path) -> None:
    flags = ("--sweep", "--rate", "20", "--growth", "4", "--bisections", "1", "--seconds", "1")
    done = gemwire(
        "bench", *flags, "--warm-up", "0.2", "--tokens", "400", "--deadline", "1", "--slo", "p50=10s",
        "--server", server.address, "-o", str(tmp_path / "result.json"),
    )  # fmt: skip
    assert done.returncode in (*DONE, SLO_MISSED), done.stderr
    found = json.loads((tmp_path / "result.json").read_text())
    rates = [step["rate"] for step in found["steps"]]
    assert rates == sorted(set(rates)) and len(rates) >= 2
    assert "knee" in found and "the highest stable rate" in done.stdout


def test_the_engine_alone(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    flags = ("--in-process", "--model", str(tiny_checkpoint), "--threads", "1", "-o", str(path))
    for mode in ("unary", "batch", "stream"):
        done = gemwire("bench", *SHORT, *flags, "--mode", mode)
        assert done.returncode in DONE, done.stderr
        found = json.loads(path.read_text())
        figures = found["steps"][0]["all"]
        assert figures["ok"] == figures["samples"] > 0
        assert figures["queue"]["samples"] == figures["compute"]["samples"] == figures["ok"]
        assert found["environment"]["server"]["dimensions"] > 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "--server"),
        (("--server", "127.0.0.1:1", "--slo", "fast"), "no SLO"),
        (("--server", "127.0.0.1:1", "--slo", "bulk:p99=1s"), "no class"),
        (("--server", "127.0.0.1:1", "--class", "a mode=fast"), "mode"),
        (("--server", "127.0.0.1:1", "--arrivals", "now"), "way to arrive"),
        (("--server", "127.0.0.1:1", "--tokens", "many"), "distribution"),
        (("--server", "127.0.0.1:1", "--workers", "0"), "--workers"),
    ],
)
def test_wrong_flags_are_told(flags: tuple[str, ...], said: str) -> None:
    done = gemwire("bench", *flags)
    assert done.returncode in (1, 2) and said in one_line(done.stderr)


def test_other_results_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    for content in ("", "[]", '{"schema": "gemwire-bench/0"}'):
        path.write_text(content)
        done = gemwire("bench", "compare", str(path), str(path))
        assert done.returncode == 1 and os.fspath(path) in one_line(done.stderr)
