"""The methods of an API as the HTTP front serves them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gemwire_server.service.call import Call

Handle = Callable[[bytes, Call], Awaitable[bytes]]
"""A method gets the body of its request, whole and within the limit, and returns the JSON of its answer.
A method that has a parameter in its path gets the value of that instead."""


@dataclass(frozen=True, slots=True)
class HttpMethod:
    """A method of an API: its name in metrics, the HTTP verb, and the paths that it answers at.

    A path may have one parameter, in Starlette's form: {name:path} takes slashes too.
    """

    name: str
    verb: str
    paths: Sequence[str]
    json_only: bool = False
    """Whether a body that says to be anything else than JSON, or nothing, is refused with 415. curl says
    of its `-d` that it is a form, so an API whose own servers do not ask takes any."""
