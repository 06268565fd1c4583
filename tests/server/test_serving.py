"""`gemwire serve` prints each address with a line to try, and each line works as printed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gemwire_server.security.tokens import make
from support.calling import command
from support.certificates import Authority
from support.token_files import write
from uninstalled import environment

WAIT = 60.0

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def tried(folder: Path, *flags: str) -> dict[str, str]:
    """Serves gemwire-mini and runs in a shell, in `folder`, each line to try: what each printed, by its
    command. The files that a line names are the user's own."""
    arguments = ("serve", "--address", "127.0.0.1:0", *flags)
    with subprocess.Popen(
        command(*arguments), env=environment(), stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            lines: list[str] = []
            while not lines or " embed - " not in lines[-1]:
                lines.append(server.stdout.readline())
                assert lines[-1], "the server did not start"
            tries = [line.split("try", 1)[1].strip() for line in lines if line.startswith("  try")]
            return {line: _in_a_shell(line, folder) for line in tries if _is_here(line)}
        finally:
            server.terminate()
            server.wait(WAIT)


def _is_here(line: str) -> bool:
    return not line.startswith("grpcurl") or shutil.which("grpcurl") is not None


def _in_a_shell(line: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env=environment() | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert done.returncode == 0, (line, done.stderr)
    return done.stdout


@needs_curl
def test_each_address_has_a_line_that_works(tmp_path: Path) -> None:
    addresses = ["--http-address", "--metrics-address", "--admin-address"]
    printed = tried(tmp_path, *(part for name in addresses for part in (name, "127.0.0.1:0")))
    http, metrics, grpc = (printed[line] for line in printed if not line.startswith("grpcurl"))
    assert '"object":"embedding"' in http
    assert metrics == "OK\n"
    assert '"embedding": [' in grpc


@needs_curl
def test_the_lines_of_a_guarded_server_name_what_a_user_adds(tmp_path: Path) -> None:
    authority = Authority()
    authority.pair().write(tmp_path / "cert.pem", tmp_path / "key.pem")
    token, entry = make("someone")
    write(tmp_path / "tokens", entry)
    (tmp_path / "TOKEN.txt").write_text(token)
    (tmp_path / "CA.pem").write_bytes(authority.pem)
    files = {"--tls-cert": "cert.pem", "--tls-key": "key.pem", "--tokens-file": "tokens"}
    flags = [part for name, file in files.items() for part in (name, str(tmp_path / file))]
    printed = tried(tmp_path, "--http-address", "127.0.0.1:0", *flags)
    http, grpc = printed.values()
    assert '"object":"embedding"' in http
    assert '"embedding": [' in grpc
