"""gemwire embed: files to files by a real server, errors by their row, progress for a terminal only."""

import argparse
import json
import os
import pty
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from gemwire_client import Client, Document, GemwireError
from gemwire_server import cli
from gemwire_server.cli import remote
from gemwire_server.cli.rows import Row
from support.calling import command, gemwire, one_line
from uninstalled import environment

TEXTS = ["plain", "日本語 🎉", "two\nlines", 'quote " and \\', *(f"text {i}" for i in range(300))]


@pytest.fixture(autouse=True)
def _no_options_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in os.environ:
        if key.startswith("GEMWIRE_"):
            monkeypatch.delenv(key)


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    objects = [{"id": i, "text": text} for i, text in enumerate(TEXTS)]
    path.write_text("".join(json.dumps(line) + "\n" for line in objects))
    return path


def embed(server: str, *arguments: str | Path) -> int:
    """The exit code; argparse's too."""
    try:
        return cli.main(["embed", "--server", server, *map(str, arguments)])
    except SystemExit as error:
        assert isinstance(error.code, int)
        return error.code


def expected(server: str, texts: list[Any], **options: Any) -> NDArray[np.float32]:
    with Client(server) as client:
        return np.asarray(client.embed(texts, **options), np.float32)


def assert_same(found: Any, wanted: NDArray[np.float32]) -> None:
    """As close as a CPU's sums are in batches of other sizes."""
    vectors = np.asarray(found, np.float32)
    assert vectors.shape == wanted.shape
    assert (np.sum(vectors * wanted, axis=1) > 0.9999).all()


def column(path: Path, name: str = "embedding") -> list[Any]:
    if path.suffix == ".parquet":
        return list(pq.read_table(path).column(name).to_pylist())
    return [json.loads(line)[name] for line in path.read_text("utf-8").split("\n") if line]


def left_behind(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


# What comes out


@pytest.mark.parametrize("ending", [".npy", ".jsonl", ".parquet"])
def test_vectors_are_those_of_the_texts_in_order(
    server: str, jsonl: Path, tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"out{ending}"
    assert embed(server, jsonl, "-o", out, "--task", "retrieval_query") == 0
    found = np.load(out) if ending == ".npy" else column(out)
    assert_same(found, expected(server, TEXTS, task="retrieval_query"))
    if ending != ".npy":
        assert column(out, "id") == list(range(len(TEXTS)))
    assert capfd.readouterr() == ("", "")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ([], {}),
        (["--task", "clustering"], {"task": "clustering"}),
        (["--prompt-name", "document"], {"prompt_name": "document"}),
        (["--prompt", "Say: "], {"prompt": "Say: "}),
        (["--dimensions", "32"], {"dimensions": 32}),
    ],
)
def test_options_reach_the_server(
    server: str, tmp_path: Path, flags: list[str], options: dict[str, Any]
) -> None:
    (tmp_path / "in.txt").write_text("hello\nworld\n")
    assert embed(server, tmp_path / "in.txt", "-o", tmp_path / "out.npy", *flags) == 0
    assert_same(np.load(tmp_path / "out.npy"), expected(server, ["hello", "world"], **options))


def test_titles(server: str, tmp_path: Path) -> None:
    table = pa.table({"body": ["a", "b", "c"], "name": ["One", None, "Three"]})
    pq.write_table(table, tmp_path / "in.parquet")
    columns = ["--text-column", "body", "--title-column", "name"]
    task = ["--task", "retrieval_document"]
    assert embed(server, tmp_path / "in.parquet", "-o", tmp_path / "o.npy", *columns, *task) == 0
    documents = [Document("a", "One"), "b", Document("c", "Three")]
    wanted = expected(server, documents, task="retrieval_document")
    assert_same(np.load(tmp_path / "o.npy"), wanted)
    assert not np.allclose(wanted, expected(server, ["a", "b", "c"], task="retrieval_document"))


@pytest.mark.parametrize("end", ["end", "start"])
def test_truncation(server: str, tmp_path: Path, end: str) -> None:
    long = "red " * 2000 + "blue " * 2000
    (tmp_path / "in.txt").write_text(long + "\n")
    assert embed(server, tmp_path / "in.txt", "-o", tmp_path / "o.npy", "--truncation", end) == 0
    assert_same(np.load(tmp_path / "o.npy"), expected(server, [long.rstrip("\n")], truncation=end))


def test_standard_input_to_standard_output(server: str) -> None:
    done = gemwire("embed", "-", "-o", "-", "--server", server, input="a é\nb\n")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["text"] for line in lines] == ["a é", "b"]
    assert_same([line["embedding"] for line in lines], expected(server, ["a é", "b"]))


def test_without_a_server_one_runs_in_the_process(tiny_checkpoint: Path, tmp_path: Path) -> None:
    done = gemwire(
        *("embed", "-", "-o", str(tmp_path / "out.npy"), "--model", str(tiny_checkpoint)),
        input="one\ntwo\n",
        # Of the server that people run, perhaps right now: not of this one.
        environ={"GEMWIRE_ADDRESS": "192.0.2.1:1"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert np.load(tmp_path / "out.npy").shape == (2, 96)


def test_no_texts(server: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("")
    assert embed(server, tmp_path / "in.txt", "-o", tmp_path / "out.npy") == 0
    assert np.load(tmp_path / "out.npy").shape == (0, 96)
    assert embed(server, tmp_path / "in.txt", "-o", tmp_path / "o.npy", "--dimensions", "64") == 0
    assert np.load(tmp_path / "o.npy").shape == (0, 64)


# What goes wrong


def write_bad(path: Path) -> Path:
    texts = ["fine", "", "word " * 4000, "fine", None]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_a_bad_text_stops_by_its_row(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.npy"
    assert embed(server, write_bad(tmp_path / "in.jsonl"), "-o", out) == 1
    assert one_line(capfd.readouterr().err) == "line 2: 'text' is empty"
    (tmp_path / "in.txt").write_text("fine\n" + "secret " * 4000 + "\n")
    assert embed(server, tmp_path / "in.txt", "-o", out) == 1
    said = one_line(capfd.readouterr().err)
    assert said.startswith("line 2: ") and "2048" in said and "secret" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "in.txt"]


@pytest.mark.parametrize("ending", [".npy", ".jsonl", ".parquet"])
def test_bad_texts_get_null_and_are_counted(
    server: str, tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"out{ending}"
    assert embed(server, write_bad(tmp_path / "in.jsonl"), "-o", out, "--on-error", "null") == 0
    said = one_line(capfd.readouterr().err)
    assert said == "3 of 5 texts have no vector; first line 2: 'text' is empty"
    if ending == ".npy":
        missing = np.isnan(np.load(out)).all(axis=1).tolist()
    else:
        missing = [value is None for value in column(out)]
    assert missing == [False, True, True, False, True]


def test_what_is_wrong_with_the_table_stops_in_any_case(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "fine"}\n{"text": "secret"\n')
    for flag in ("stop", "null"):
        assert embed(server, path, "-o", tmp_path / "o.npy", "--on-error", flag) == 1
        said = one_line(capfd.readouterr().err)
        assert said.startswith("line 2: not JSON") and "secret" not in said
    assert embed(server, path, "-o", tmp_path / "o.npy", "--text-column", "body") == 1
    assert one_line(capfd.readouterr().err) == "line 1: no column 'body'; there are 'text'"
    assert [file.name for file in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_failing_server_is_no_fault_of_a_text(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object, texts: Iterator[object], **__: object) -> Iterator[object]:
        next(texts), next(texts)
        yield np.zeros(96, np.float32)
        yield GemwireError("the engine failed")

    monkeypatch.setattr(Client, "embed_iter", fail)
    (tmp_path / "in.txt").write_text("a\nb\n")
    arguments = (tmp_path / "in.txt", "-o", tmp_path / "out.npy", "--on-error", "null")
    assert embed(server, *arguments) == 1
    assert "the engine failed" in one_line(capfd.readouterr().err)
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("absent.txt", "out.npy", "absent.txt': must be a file that can be read"),
        ("in.csv", "out.npy", "give its --format"),
        ("in.txt", "out.csv", "the name's ending tells the format"),
        ("in.txt", "none/out.npy", "there is no folder"),
        ("in.txt", "folder.npy", "and is a folder"),
    ],
)
def test_files_that_cannot_be(
    server: str, tmp_path: Path, source: str, target: str, said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "folder.npy").mkdir()
    for name in ("in.txt", "in.csv"):
        (tmp_path / name).write_text("a\n")
    assert embed(server, tmp_path / source, "-o", tmp_path / target) in (1, 2)
    assert said in one_line(capfd.readouterr().err)


def test_wrong_dimensions_are_refused_by_the_server(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    assert embed(server, tmp_path / "in.txt", "-o", tmp_path / "o.npy", "--dimensions", "5") == 1
    assert "96, 64, 32" in one_line(capfd.readouterr().err)
    assert not (tmp_path / "o.npy").exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_killed_midway_leaves_no_half_file(
    server: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "out.npy"
    out.write_bytes(b"before")
    arguments = command("embed", "-", "-o", str(out), "--server", server)
    # An endless input: it ends only by the signal.
    with subprocess.Popen(
        arguments, env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        feeder = threading.Thread(target=_feed, args=(process.stdin,))
        feeder.start()
        deadline = time.monotonic() + 60
        while not any(file.stat().st_size > 4096 for file in tmp_path.glob(".out.npy.*")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(timeout=30) == code
        assert process.stderr.read() == b""
        feeder.join()
    assert out.read_bytes() == b"before"
    if number != signal.SIGKILL:
        assert left_behind(tmp_path) == []


def _feed(pipe: Any) -> None:
    try:
        while True:
            pipe.write(b"some text\n" * 100)
    except BrokenPipeError:
        pass


# Progress


def test_progress_on_a_terminal(server: str, tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text("a text of some words\n" * 3000)
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        command("embed", str(source), "-o", str(tmp_path / "out.npy"), "--server", server),
        env=environment({"TERM": "xterm", "COLUMNS": "120"}),
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    while select.select([controller], [], [], 60)[0]:
        try:
            shown += os.read(controller, 65536)
        except OSError:  # the terminal's other end closed
            break
    os.close(controller)
    assert process.wait(timeout=60) == 0
    screen = shown.decode()
    assert "tokens/s" in screen and "\x1b[" in screen and "0:00:0" in screen
    assert "gemwire: 3,000 texts, " in screen.splitlines()[-1]
    assert process.stdout is not None and process.stdout.read() == b""
    process.stdout.close()
    assert np.load(tmp_path / "out.npy").shape == (3000, 96)


def test_silence_in_a_pipe(server: str, tmp_path: Path) -> None:
    done = gemwire(
        *("embed", "-", "-o", str(tmp_path / "out.npy"), "--server", server), input="a\n" * 50
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_memory_does_not_grow_with_the_rows(server: str, tmp_path: Path) -> None:
    """The rows that wait for their vectors are never more than the stream's credit allows."""
    waiting = most = 0

    def rows() -> Iterator[Any]:
        nonlocal waiting, most
        for number in range(5000):
            waiting += 1
            most = max(most, waiting)
            yield Row(f"line {number}", "a", "", {}, number)

    arguments = {"task": None, "prompt_name": None, "prompt": None, "dimensions": 32}
    with Client(server) as client:
        given = argparse.Namespace(**arguments, truncation="error")
        for _ in remote.answers(client, given, lambda tokens: None, rows()):
            waiting -= 1
    assert waiting == 0 and most <= 2048
