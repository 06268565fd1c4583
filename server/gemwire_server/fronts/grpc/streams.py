"""What streams of every API share."""

import asyncio
from collections.abc import Awaitable

import grpc

# gRPC varies the age of a connection by a tenth. After this much of it, no connection takes new calls, so a
# stream that moves gets another connection.
STREAM_AGE = 1.1
# Grace period of a stream without unanswered texts, once its client was asked to go elsewhere.
LINGER_SECONDS = 1.0


async def sent(sending: Awaitable[None]) -> None:
    """Waits until something is sent. Raises CancelledError where the client has gone: grpc.aio cancels the
    call for that too, but a moment after sending has failed."""
    try:
        await sending
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None
