"""A throw-away certificate authority, and the files a server and its clients take from it."""

import datetime
import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in PEM."""

    cert: bytes
    key: bytes
    serial: int

    def write(self, cert: Path, key: Path) -> None:
        """Replaces the files one after the other, as is usual."""
        replace(cert, self.cert)
        replace(key, self.key)


class Authority:
    """Signs for 127.0.0.1."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self._cert = self._begin(self._name, self._key, DAY).add_extension(basic, True)
        self.pem = _pem(self._cert.sign(self._key, hashes.SHA256()))

    def _begin(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, left: datetime.timedelta
    ) -> x509.CertificateBuilder:
        end = datetime.datetime.now(datetime.UTC) + left
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - 30 * DAY)
            .not_valid_after(end)
        )

    def pair(self, left: datetime.timedelta = DAY, password: str = "") -> Pair:
        """A new certificate; `left` is how long it is still good."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        cert = self._begin(subject, key, left).add_extension(names, False)
        signed = cert.sign(self._key, hashes.SHA256())
        return Pair(_pem(signed), _key_pem(key, password), signed.serial_number)


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey, password: str) -> bytes:
    how = (
        serialization.BestAvailableEncryption(password.encode())
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def replace(path: Path, content: bytes) -> None:
    """Replaces a file at once, so that a reader never sees a part of it."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, path)


def served_serial(address: str, authority: Authority) -> int:
    """The serial of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        shown = secured.getpeercert()
        assert shown is not None
        return int(str(shown["serialNumber"]), 16)


def credentials(authority: Authority, own: Pair | None = None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.pem,
        None if own is None else own.key,
        None if own is None else own.cert,
    )
