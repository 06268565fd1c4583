"""TLS from PEM files that may be replaced while the server runs.

Each handshake looks at the files: new connections get a replaced certificate, and old connections stay
open. A pair that is half written or does not match is not used. The fronts of a process share the files.
"""

import contextlib
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gemwire_server.config.sources import ConfigError
from gemwire_server.security.reloaded import OnBadFile, Reloaded

if TYPE_CHECKING:
    import grpc


@dataclass(frozen=True, slots=True)
class Pem:
    """The contents of the files. With `roots` None, clients need no certificate."""

    chain: bytes
    key: bytes
    roots: bytes | None

    def to_grpc(self) -> "grpc.ServerCertificateConfiguration":
        import grpc  # here, so that a supervisor can check the files without it

        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], self.roots)

    def to_context(self) -> ssl.SSLContext:
        """A context for servers of HTTP/1.1 on Python's own TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        with _in_memory(self.chain) as chain, _in_memory(self.key) as key:
            context.load_cert_chain(chain, key)
        if self.roots is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self.roots.decode("ascii", "ignore"))
        return context


class Certificates:
    """A server's certificate and key, and what client certificates must be signed by."""

    def __init__(self, cert: str, key: str, client_ca: str, on_bad_file: OnBadFile) -> None:
        """Paths of PEM files; an empty `client_ca` asks clients for no certificate.

        Raises ConfigError, naming the file, if they cannot be used.
        """
        self._cert, self._key, self._client_ca = cert, key, client_ca
        paths = [path for path in (cert, key, client_ca) if path]
        self._files = Reloaded("certificate", paths, self._read, on_bad_file)
        # The contents that gRPC has, and those of the context.
        self._given = self._of_context = self._files.value
        self._context: ssl.SSLContext | None = None

    def credentials(self) -> "grpc.ServerCredentials":
        """For gRPC's servers."""
        import grpc

        self._given = self._files.value
        return grpc.dynamic_ssl_server_credentials(
            self._given.to_grpc(),
            self._changed,  # type: ignore[arg-type]  # the stubs leave out its None: no change
            require_client_authentication=bool(self._client_ca),
        )

    def _changed(self) -> "grpc.ServerCertificateConfiguration | None":
        """gRPC calls it before each handshake. An exception here would break the handshake."""
        self._files.refresh()
        # Another front may have read the files anew before: the value says whether gRPC has it.
        pem = self._files.value
        if pem is self._given:
            return None
        self._given = pem
        return pem.to_grpc()

    def context(self) -> ssl.SSLContext:
        """For servers on Python's own TLS: each handshake is given the certificate of that moment."""
        return _LatestContext.of(self._latest)

    def _latest(self) -> ssl.SSLContext:
        self._files.refresh()
        pem = self._files.value
        if self._context is None or pem is not self._of_context:
            self._context, self._of_context = pem.to_context(), pem
        return self._context

    def _read(self) -> Pem:
        chain, key = Path(self._cert).read_bytes(), Path(self._key).read_bytes()
        check_pair(chain, key, self._cert, self._key)
        roots = None
        if self._client_ca:
            roots = Path(self._client_ca).read_bytes()
            check_roots(roots, self._client_ca)
        return Pem(chain, key, roots)


class _LatestContext(ssl.SSLContext):
    """A context in front of others: event loops ask it for the TLS of each connection.

    The contexts differ, and with them the keys of session tickets: a client that an authority signed which
    is no longer trusted cannot resume.
    """

    _latest: Callable[[], ssl.SSLContext]

    @classmethod
    def of(cls, latest: Callable[[], ssl.SSLContext]) -> Self:
        made = cls(ssl.PROTOCOL_TLS_SERVER)
        made._latest = latest
        return made

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return self._latest().wrap_bio(*args, **options)


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path to the bytes that no disk has: Python's ssl reads keys from paths only."""
    descriptor = os.memfd_create("gemwire-pem")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def check_pair(chain: bytes, key: bytes, cert_path: str, key_path: str) -> None:
    """Raises ConfigError, naming the files, for what is not a certificate and its key in PEM."""

    def no_password() -> str:
        raise ConfigError(
            f"{key_path}: the key has a password; write it without: openssl pkey -in KEY -out NEW"
        )

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The very bytes that are handed over: the files may be replaced between two looks.
    with _in_memory(chain) as chain_bytes, _in_memory(key) as key_bytes:
        try:
            context.load_cert_chain(chain_bytes, key_bytes, no_password)
        except ssl.SSLError as error:
            what = (
                f"{key_path} is not the key of the certificate in {cert_path}"
                if error.reason == "KEY_VALUES_MISMATCH"
                else f"{cert_path} and {key_path} are not a certificate and its key in PEM"
            )
            raise ConfigError(what, "tls_cert", "tls_key") from None


def check_roots(roots: bytes, path: str) -> None:
    """Raises ConfigError, naming the file, for what holds no certificates in PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=roots.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{path}: there are no certificates in PEM", "tls_client_ca") from None
