"""The methods of an API as the HTTP front serves them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gemwire_server.service.call import Call

Handle = Callable[[bytes, Call], Awaitable[bytes]]
"""A method gets the body of its request, whole and within the limit, and returns the JSON of its answer."""


@dataclass(frozen=True, slots=True)
class HttpMethod:
    """A method of an API: its name in metrics, the HTTP verb, and the paths that it answers at."""

    name: str
    verb: str
    paths: Sequence[str]
