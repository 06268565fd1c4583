"""The server's own deadline for calls that bring none."""

import asyncio
import time
from typing import Any

from google.protobuf.message import Message

from gemwire_server.errors import Expired
from gemwire_server.fronts.grpc.handlers import Method
from gemwire_server.service.call import Call


def with_default_deadline(seconds: float, method: Method) -> Method:
    """The method, ended with Expired after so many seconds where the client set no deadline; 0: never.

    A client's own deadline needs no watching: grpc cancels the handler.
    """

    async def limited(request: Any, call: Call) -> Message | bytes | None:
        if call.deadline is not None or not seconds:
            return await method(request, call)
        call.deadline = call.arrived + seconds
        limit = asyncio.timeout(call.deadline - time.monotonic())
        try:
            async with limit:
                return await method(request, call)
        except TimeoutError:
            if not limit.expired():
                raise
            raise Expired(
                "DEADLINE_EXCEEDED",
                f"the call set no deadline, and this server's is {seconds:g} s: set one, or ask for less "
                "at once",
            ) from None

    return limited
