"""The file of tokens: its lines, and what becomes of a file that is bad or that changes."""

import hashlib
import logging
from pathlib import Path

import pytest

from gemwire_server.config.sources import ConfigError
from gemwire_server.errors import QuotaExceeded, Unauthenticated
from gemwire_server.security import tokens as tokens_module
from gemwire_server.security.tokens import MAX_TOKENS, Tokens, make
from support.certificates import replace
from support.token_files import bearer, write


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tokens file that is looked at for each call."""
    monkeypatch.setattr(tokens_module, "LOOK_SECONDS", 0.0)
    return tmp_path / "tokens"


def test_lines_and_their_quotas(file: Path) -> None:
    (first, line), (second, other) = make("a", 600, 1200), make("b")
    write(file, "# who may call", "", line + "  # until spring", other)
    found = Tokens(str(file), 4, lambda kind: None)
    grant = found.grant(bearer(first))
    assert grant.name == "a" and grant.bucket is not None
    grant.bucket.take(400)  # more than its part of the burst
    with pytest.raises(QuotaExceeded, match="600 tokens a second"):
        grant.bucket.take(1)
    assert found.grant(bearer(second)).bucket is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "there are no tokens"),
        ("# nobody\n", "there are no tokens"),
        ("a:" + 64 * "0" + "\nb:" + 63 * "0", "line 2"),
        ("a:" + 64 * "0" + ":0", "line 1: a quota is at least 1"),
        ("a:" + 64 * "0" + ":1:0", "line 1: a quota is at least 1"),
        ("a:" + 64 * "0" + ":1:2:3", "line 1: must be name"),
        ("a b:" + 64 * "0", "line 1: must be name"),
        ("é:" + 64 * "0", "not ASCII"),
        ("a:" + 64 * "0" + ":5\na:" + 64 * "1" + ":6", "line 2: a has another quota"),
        ((f"a:{64 * '0'}\n") * (MAX_TOKENS + 1), "more than 1000"),
    ],
)
def test_what_is_no_tokens_file(file: Path, content: str, said: str) -> None:
    file.write_text(content)
    with pytest.raises(ConfigError, match=said) as caught:
        Tokens(str(file), 1, lambda kind: None)
    assert str(file) in str(caught.value) and "0000" not in str(caught.value)


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(ConfigError, match="tokens: No such file"):
        Tokens(str(file), 1, lambda kind: None)


def test_a_bad_file_keeps_the_tokens_and_is_logged_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad: list[str] = []
    token, line = make("a")
    write(file, line)
    found = Tokens(str(file), 1, bad.append)
    with caplog.at_level(logging.WARNING):
        for content in (line[:-1].encode(), b"", bytes(range(128, 256))):
            replace(file, content)
            for _ in range(3):
                assert found.grant(bearer(token)).name == "a"
        file.unlink()
        for _ in range(3):
            assert found.grant(bearer(token)).name == "a"
    assert bad == ["tokens"] * 4
    assert len(caplog.records) == 4
    assert hashlib.sha256(token.encode()).hexdigest()[:16] not in caplog.text
    write(file, make("b")[1])
    with pytest.raises(Unauthenticated):
        found.grant(bearer(token))


def test_a_quota_that_changes_keeps_what_is_owed(file: Path) -> None:
    token, line = make("a", 100)
    write(file, line)
    found = Tokens(str(file), 1, lambda kind: None)
    bucket = found.grant(bearer(token)).bucket
    assert bucket is not None
    bucket.take(100_000)
    write(file, line.removesuffix(":100") + ":1000")
    again = found.grant(bearer(token)).bucket
    assert again is bucket
    with pytest.raises(QuotaExceeded, match="1000 tokens a second"):
        bucket.take(0)
