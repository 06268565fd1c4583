"""What callers of the protocol get of an error: Triton's clients show its message alone."""

from gemwire_server.errors import GemwireError, InvalidInput


def worded(error: GemwireError) -> tuple[str, str]:
    """The code, and the message with the place in the request unless it names that itself."""
    field = error.field if isinstance(error, InvalidInput) else ""
    if not field or field in error.message:
        return error.code, error.message
    return error.code, f"{field}: {error.message}"
