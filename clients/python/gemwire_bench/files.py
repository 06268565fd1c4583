"""Reads the text files that a load is made from."""

from pathlib import Path


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file. Raises OSError, or ValueError, naming the file."""
    try:
        return path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not UTF-8 at byte {error.start + 1}; unpack what is compressed first"
        ) from None
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
