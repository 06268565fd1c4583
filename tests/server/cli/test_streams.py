"""Commands in processes of their own whose streams are closed, full or left, and that are interrupted."""

import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.calling import command, one_line
from uninstalled import environment


def shell(
    arguments: list[str], redirections: str, folder: Path
) -> "subprocess.CompletedProcess[str]":
    """A command with redirections as a shell makes them."""
    return subprocess.run(
        ["/bin/sh", "-c", f"exec {shlex.join(command(*arguments))} {redirections}"],
        env=environment(),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments", [["embed", "-", "-o", "out.npy"], ["embed", "-", "-o", "-"], ["tokenize", "-"]]
)
def test_closed_standard_input(arguments: list[str], server: str, tmp_path: Path) -> None:
    done = shell([*arguments, "--server", server], "<&-", tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert one_line(done.stderr).startswith("standard input is closed: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [["info"], ["token", "a"], ["tokenize", "a", "--server", "{server}"],
     ["embed", "in.txt", "-o", "-", "--server", "{server}"]],
)  # fmt: skip
@pytest.mark.parametrize(
    ("redirection", "said"), [(">&-", "standard output is closed"), (">/dev/full", "No space left")]
)
def test_standard_output_that_takes_nothing(
    arguments: list[str], redirection: str, said: str, server: str, tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("a\n" * 500)
    given = [word.format(server=server) for word in arguments]
    done = shell(given, redirection, tmp_path)
    assert done.returncode == 1 and said in one_line(done.stderr)


def test_what_prints_nothing_needs_no_stream(server: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    words = ["embed", "in.txt", "-o", "out.npy", "--server", server]
    done = shell(words, "<&- >&- 2>&-", tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "out.npy").read_bytes().startswith(b"\x93NUMPY")


def test_errors_do_not_go_into_the_results_where_standard_error_is_closed(
    server: str, tmp_path: Path
) -> None:
    done = shell(["embed", "absent.txt", "-o", "-", "--server", server], "2>&-", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("name", ["out.npy", "out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_a_disk_that_fills_leaves_what_was_there(name: str, server: str, tmp_path: Path) -> None:
    """By a limit on the size of a file, in blocks of 512 bytes."""
    (tmp_path / "in.txt").write_text("".join(f"text {i}\n" for i in range(300)))
    (tmp_path / name).write_text("old")
    words = shlex.join(command("embed", "in.txt", "-o", name, "--server", server))
    done = subprocess.run(
        ["/bin/sh", "-c", f"ulimit -f 20; exec {words}"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1 and one_line(done.stderr) == f"{name}: File too large"
    assert (tmp_path / name).read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", name]


@pytest.mark.parametrize("name", ["out.npy", "out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_a_device_that_takes_nothing_is_named(name: str, server: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\n" * 500)
    (tmp_path / name).symlink_to("/dev/full")
    done = shell(["embed", "in.txt", "-o", name, "--server", server], "", tmp_path)
    assert done.returncode == 1 and one_line(done.stderr).startswith(f"{name}: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("ignored", [False, True], ids=["as usual", "ignored"])
def test_embedding_that_is_told_to_end(
    number: signal.Signals, ignored: bool, server: str, tmp_path: Path
) -> None:
    """What was there stays. What the parent ignores (nohup, `&` in a script) is ignored."""
    output = tmp_path / "out.jsonl"
    output.write_text("old")
    words = command("embed", "-", "-o", "out.jsonl", "--server", server)
    trap = f"trap '' {number.name.removeprefix('SIG')}; " * ignored
    with subprocess.Popen(
        ["/bin/sh", "-c", f"{trap}exec {shlex.join(words)}"],
        env=environment(),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write("a text\n")
        process.stdin.flush()
        deadline = time.monotonic() + 20
        while len(list(tmp_path.iterdir())) < 2:  # the partial file
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate("a text\n", timeout=60)
        assert process.returncode == (0 if ignored else 128 + number), said
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert (output.read_text() == "old") is not ignored


def test_a_reader_that_leaves_early(server: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("some text\n" * 3000)
    words = command("embed", "in.txt", "-o", "-", "--server", server)
    with subprocess.Popen(
        words, env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["text"] == "some text"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 1


def test_a_server_serves_where_nobody_reads_what_it_prints(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    address = f"unix:{tmp_path}/gemwire.sock"
    words = ["serve", "--model", str(tiny_checkpoint), "--engine", "thread", "--address", address]
    line = f"exec {shlex.join(command(*words))} <&- >&-"
    with subprocess.Popen(
        ["/bin/sh", "-c", line], env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                asked = shell(["info", "--server", address], "", tmp_path)
                if asked.returncode == 0:
                    break
                assert time.monotonic() < deadline and process.poll() is None
        finally:
            process.terminate()
            _, said = process.communicate(timeout=60)
            assert process.returncode == 0 and "Traceback" not in said, said


BENCH = ["bench", "--server", "{server}", "--seconds", "60", "--warm-up", "0", "-o", "old.json"]


@pytest.mark.parametrize(
    ("arguments", "begun", "number"),
    [
        (["tokenize", "-", "--server", "{server}"], '"ids"', signal.SIGINT),
        (BENCH, "", signal.SIGINT),
        (BENCH, "", signal.SIGTERM),
    ],
)
def test_told_to_end(
    arguments: list[str], begun: str, number: signal.Signals, server: str, tmp_path: Path
) -> None:
    """SIGINT as a terminal sends it: to the command and to the processes it has started."""
    old = tmp_path / "old.json"
    old.write_text("old")
    words = command(*[word.format(server=server) for word in arguments])
    with subprocess.Popen(
        words,
        env=environment({"PYTHONUNBUFFERED": "1"}),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        if begun:
            process.stdin.write("a text\n")
            process.stdin.flush()
            assert begun in process.stdout.readline()
        else:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            deadline = time.monotonic() + 60
            while len(children.read_text().split()) < 2:  # multiprocessing's own, and a worker
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.05)
            time.sleep(2.0)  # until the worker sends; sooner is as good
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        assert process.wait(timeout=60) == 128 + number
        assert process.stderr is not None and process.stderr.read() == ""
    assert old.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]
