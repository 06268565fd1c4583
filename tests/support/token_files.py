"""Files of bearer tokens, and the metadata that brings a token."""

from pathlib import Path

from support.certificates import replace

Metadata = tuple[tuple[str, str | bytes], ...]


def bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


def write(file: Path, *lines: str) -> None:
    """Replaces the file at once."""
    replace(file, "".join(f"{line}\n" for line in lines).encode())
