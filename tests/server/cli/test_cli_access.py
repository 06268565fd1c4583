"""Certificates and tokens on the command line."""

from pathlib import Path

import pytest

from gemwire_server.config.options import ServerConfig
from gemwire_server.processes.single import background_server
from gemwire_server.security import tokens
from support.calling import gemwire, one_line
from support.certificates import Authority


def test_commands_reach_a_server_that_asks_for_certificate_and_token(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    made = gemwire("token", "somebody", "--rate", "1000000")
    assert made.returncode == 0
    token, line = made.stdout.splitlines()
    assert line.startswith("somebody:") and line.endswith(":1000000")
    listed, token_file = tmp_path / "tokens", tmp_path / "token"
    listed.write_text(line)
    token_file.write_text(token + "\n")
    servers, clients = Authority(), Authority()
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key", "own", "own-key")}
    paths["ca"].write_bytes(servers.pem)
    servers.pair().write(paths["cert"], paths["key"])
    clients.pair().write(paths["own"], paths["own-key"])
    (tmp_path / "clients.pem").write_bytes(clients.pem)
    config = ServerConfig(
        model=str(tiny_checkpoint),
        address="127.0.0.1:0",
        tls_cert=str(paths["cert"]),
        tls_key=str(paths["key"]),
        tls_client_ca=str(tmp_path / "clients.pem"),
        tokens_file=str(listed),
    )
    tls = ["--tls-ca", str(paths["ca"])]
    own = ["--tls-cert", str(paths["own"]), "--tls-key", str(paths["own-key"])]
    flags = [*tls, *own, "--token-file", str(token_file)]
    with background_server(config) as address:
        asked = ["--server", address, *flags]
        assert gemwire("info", *asked).returncode == 0
        assert '"ids"' in gemwire("tokenize", "a text", *asked).stdout
        embedded = gemwire("embed", "-", "-o", "-", *asked, input="a text\n")
        assert '"embedding"' in embedded.stdout
        loaded = gemwire("bench", *asked, "--seconds", "1", "--warm-up", "0", "--tokens", "8")
        assert "golden" in loaded.stdout and loaded.returncode in (0, 4)
        assert token not in loaded.stdout + loaded.stderr
        denied = gemwire("info", "--server", address, *tls, *own)
        assert denied.returncode == 1 and "authorization" in one_line(denied.stderr)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("info", "--server", "h:1", "--tls-cert", __file__), "go together"),
        (("info", "--token-file", __file__), "give --server"),
        (("info", "--server", "h:1", "--token-file", "/nowhere"), "'/nowhere': must be a file"),
        (("token", "no spaces"), "a token's name"),
        (("token", "a", "--burst", "5"), "goes with --rate"),
        (("token", "a", "--rate", "0"), "must be from 1"),
    ],
)
def test_wrong_calls(arguments: tuple[str, ...], said: str) -> None:
    done = gemwire(*arguments)
    assert done.returncode != 0
    assert said in one_line(done.stderr)


def test_a_command_without_a_server_leaves_its_options_alone(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "tokens"
    listed.write_text(tokens.make("a")[1])
    environ = {
        "GEMWIRE_TOKENS_FILE": str(listed),
        "GEMWIRE_TLS_CERT": "/nowhere",
        "GEMWIRE_TLS_KEY": "/nowhere",
        "GEMWIRE_ADMIN_ADDRESS": "127.0.0.1:1",
        "GEMWIRE_METRICS_ADDRESS": "127.0.0.1:1",
    }
    model = ("--model", str(tiny_checkpoint))
    done = gemwire("embed", "-", "-o", "-", *model, input="a\n", environ=environ)
    assert done.returncode == 0, done.stderr
