"""The servers of conformance around a command: its exit code, and what is left of them at the end."""

import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from gemwire_conformance import clients
from support.conformance import harness


def start(*arguments: str) -> "subprocess.Popen[str]":
    return harness(*arguments, stderr=subprocess.PIPE)


def test_the_exit_code_is_the_commands_unless_a_case_is_missed() -> None:
    fails, plays_nothing = (
        start("--every-case", "sh", "-c", "exit 3"),
        start("--every-case", "true"),
    )
    _, said = plays_nothing.communicate(timeout=120)
    assert plays_nothing.returncode == 1
    assert "cases were not played: " in said and "stream_simple" in said
    fails.communicate(timeout=120)
    assert fails.returncode == 3


def test_sigterm_ends_the_command_and_the_servers() -> None:
    harness = start("sh", "-c", 'echo "$CONFORMANCE"; exec sleep 600')
    assert harness.stdout is not None
    file = Path(harness.stdout.readline().strip())
    servers = json.loads(file.read_text())["servers"]
    harness.send_signal(signal.SIGTERM)
    harness.communicate(timeout=60)  # until no process has its pipes
    assert harness.returncode == 128 + signal.SIGTERM
    assert not file.parent.exists()
    for name in ("scripted", "plain", "tls", "mtls", "small_queue", "silent"):
        host, _, port = servers[name]["address"].rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=5).close()


def test_a_check_that_does_not_end_is_ended_with_all_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(clients, "LONGEST_SECONDS", 0.5)
    log = tmp_path / "log"
    started = time.monotonic()
    with log.open("wb") as said:
        code = clients.run(["sh", "-c", "sleep 600 & echo $!; wait"], said)
    assert code == -signal.SIGTERM
    child = Path(f"/proc/{log.read_text().strip()}/stat")
    while runs(child):
        assert time.monotonic() - started < 20
        time.sleep(0.05)


def runs(stat: Path) -> bool:
    """Whether the process of this file exists and is no zombie."""
    try:
        return ") Z" not in stat.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
