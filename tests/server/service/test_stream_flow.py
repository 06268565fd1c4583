"""A stream waits for its quota, unless the server drains."""

import asyncio
from pathlib import Path

import pytest

from gemwire_server.errors import QuotaExceeded, Stopped
from gemwire_server.security.quota import Bucket
from gemwire_server.security.tokens import Grant
from gemwire_server.service.call import Call
from gemwire_server.service.stream_flow import StreamFlow
from support.services import a_call, service_of


def call_with(bucket: Bucket) -> Call:
    call = a_call()
    call.grant = Grant(bucket.name, bucket, lambda: True)
    return call


def test_work_without_quota_is_tried_again_once_the_bucket_has_filled(
    tiny_checkpoint: Path,
) -> None:
    async def main() -> None:
        async with service_of(tiny_checkpoint) as service:
            bucket = Bucket("me", rate=1000, burst=1)
            bucket.take(50)
            flow = StreamFlow(service.embedder, call_with(bucket), lambda: False)
            tries = 0

            async def work() -> str:
                nonlocal tries
                tries += 1
                bucket.take(0)
                return "done"

            assert await flow.patiently(work) == "done"
            assert tries == 2

    asyncio.run(main())


def test_work_without_quota_goes_elsewhere_in_a_drain(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with service_of(tiny_checkpoint) as service:
            bucket = Bucket("me", rate=1, burst=1)
            bucket.take(1000)
            flow = StreamFlow(service.embedder, call_with(bucket), lambda: True)

            async def work() -> None:
                bucket.take(0)

            with pytest.raises(QuotaExceeded):
                await work()
            with pytest.raises(Stopped):
                await flow.patiently(work)

    asyncio.run(main())
