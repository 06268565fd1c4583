"""Bearer tokens: a file of their hashes, and what each may do.

A line is `name:sha256[:tokens_per_second[:burst]]`, the hash of the token in hex; `#` begins a comment.
Lines may share a name: that is how a token is replaced, both being good for a while.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gemwire_server.config.sources import ConfigError
from gemwire_server.errors import Unauthenticated
from gemwire_server.security.quota import Bucket
from gemwire_server.security.reloaded import OnBadFile, Reloaded

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LINE = re.compile(rf"({NAME.pattern}):([0-9a-f]{{64}})(?::(\d{{1,12}}))?(?::(\d{{1,12}}))?")
# Each is compared with, found or not.
MAX_TOKENS = 1000
LOOK_SECONDS = 1.0
SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the file; `rate` in tokens a second, 0: no quota."""

    name: str
    digest: bytes
    rate: int
    burst: int


@dataclass(slots=True, eq=False)
class Grant:
    """A token that was presented; `bucket` is shared by all of its name."""

    name: str
    bucket: Bucket | None
    _is_listed: Callable[[], bool]

    def check(self) -> None:
        """Raises Unauthenticated if the file no longer has the token."""
        if not self._is_listed():
            raise Unauthenticated("TOKEN_REVOKED", "the token is no longer good")


class Tokens:
    """The tokens of a file. For one event loop."""

    def __init__(self, path: str, fronts: int, on_bad_file: OnBadFile) -> None:
        """`fronts` processes see a part of the calls each: a quota is divided by them.

        Raises ConfigError, naming the file and line, if it cannot be read.
        """
        self._fronts = fronts
        self._file = Reloaded("tokens", [path], lambda: read(path), on_bad_file)
        self._buckets: dict[str, Bucket] = {}
        self._looked = time.monotonic()
        self._fill_buckets()

    def grant(self, metadata: Iterable[tuple[str, str | bytes]]) -> Grant:
        """The grant of the token in a call's metadata. Raises Unauthenticated."""
        given = next((value for key, value in metadata if key == "authorization"), None)
        if not isinstance(given, str) or given[: len(SCHEME)].lower() != SCHEME:
            raise Unauthenticated(
                "MISSING_TOKEN", "this server asks for metadata `authorization: Bearer TOKEN`"
            )
        digest = hashlib.sha256(given[len(SCHEME) :].strip().encode()).digest()
        entry = self._find(digest)
        if entry is None:
            raise Unauthenticated("WRONG_TOKEN", "the token is not one of this server's")
        return Grant(
            entry.name, self._buckets.get(entry.name), lambda: self._find(digest) is not None
        )

    def _find(self, digest: bytes) -> Entry | None:
        self._look()
        found = None
        for entry in self._file.value:  # every entry, so that the time taken reveals nothing
            if hmac.compare_digest(entry.digest, digest):
                found = entry
        return found

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            if self._file.refresh():
                self._fill_buckets()

    def _fill_buckets(self) -> None:
        """A bucket for each name with a quota; one that was there keeps its level."""
        before, self._buckets = self._buckets, {}
        for entry in self._file.value:
            if not entry.rate or entry.name in self._buckets:
                continue
            if (bucket := before.get(entry.name)) is None:
                bucket = Bucket(entry.name, entry.rate, entry.burst, parts=self._fronts)
            bucket.set(entry.rate, entry.burst)
            self._buckets[entry.name] = bucket


def read(path: str) -> list[Entry]:
    """The entries of a file; raises ConfigError, or OSError."""
    entries: list[Entry] = []
    quotas: dict[str, tuple[int, int]] = {}
    try:
        text = Path(path).read_text("ascii")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not ASCII", "tokens_file") from None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        match = LINE.fullmatch(line)
        if match is None:
            raise ConfigError(
                f"{path}, line {number}: must be name:sha256[:tokens_per_second[:burst]], as "
                "`gemwire token NAME` prints it",
                "tokens_file",
            )
        rate = int(match[3] or 0)
        quota = rate, int(match[4] or rate)
        if match[3] is not None and not (quota[0] and quota[1]):
            raise ConfigError(
                f"{path}, line {number}: a quota is at least 1; leave it out for none",
                "tokens_file",
            )
        if quotas.setdefault(match[1], quota) != quota:
            raise ConfigError(
                f"{path}, line {number}: {match[1]} has another quota further up", "tokens_file"
            )
        entries.append(Entry(match[1], bytes.fromhex(match[2]), *quota))
    if not entries:
        raise ConfigError(
            f"{path}: there are no tokens; `gemwire token NAME` makes one", "tokens_file"
        )
    if len(entries) > MAX_TOKENS:
        raise ConfigError(f"{path}: more than {MAX_TOKENS} tokens", "tokens_file")
    return entries


def make(name: str, rate: int = 0, burst: int = 0) -> tuple[str, str]:
    """A new token, and the line for the file; raises ValueError for a name that a line cannot have."""
    if NAME.fullmatch(name) is None:
        raise ValueError(
            f"a token's name is 1 to 64 letters, digits, '.', '_' and '-', not {name!r}"
        )
    token = "gemwire_" + secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    fields = [name, digest, *([str(rate)] if rate else []), *([str(burst)] if burst else [])]
    return token, ":".join(fields)
