#!/usr/bin/env bash
# grpcio: a grpc.aio handler that ends its call with context.abort keeps its request in memory, after the
# call has ended, until Python next looks for reference cycles. grpc.aio stores the exception that abort
# raises; its traceback holds the handler's frame, and the frame holds the context that stores the exception.
# Python starts to look by the number of objects, not by their size, so a few refused calls with large
# messages hold hundreds of megabytes. The same handler of a sync server keeps nothing
# (grpc/grpc#17899 removed the cycle there).
#
# Seen with grpcio 1.85.1 on Python 3.11, 20 calls of 4 MB each, all refused:
#   sync: 0 requests in memory
#   asyncio: 20 requests in memory, 0 after gc.collect()
#   asyncio, the handler deletes its request before it aborts: 0 requests in memory
#
# Exit code 0: as described. Needs python3 with pip, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" grpcio==1.85.1
PYTHONPATH="$folder" python3 - <<'PYTHON'
import asyncio
import gc
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import grpc

CALLS, SIZE = 20, 4_000_000
OPTIONS = [("grpc.max_receive_message_length", 2 * SIZE)]


class Request:
    """What a deserializer makes of a message."""

    def __init__(self, data):
        self.data = data
        requests.add(self)


requests = weakref.WeakSet()


def handlers(method):
    handler = grpc.unary_unary_rpc_method_handler(method, request_deserializer=Request)
    return (grpc.method_handlers_generic_handler("service", {"Method": handler}),)


def refuse_sync(request, context):
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")


async def refuse(request, context):
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")


async def refuse_without(request, context):
    del request
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")


def kept_sync():
    server = grpc.server(ThreadPoolExecutor(1), options=OPTIONS)
    server.add_generic_rpc_handlers(handlers(refuse_sync))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for _ in range(CALLS):
            try:
                channel.unary_unary("/service/Method")(bytes(SIZE))
            except grpc.RpcError:
                pass
    server.stop(None).wait()
    return len(requests)


async def kept(method):
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers(handlers(method))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for _ in range(CALLS):
            try:
                await channel.unary_unary("/service/Method")(bytes(SIZE))
            except grpc.aio.AioRpcError:
                pass
    await asyncio.sleep(0.2)
    found = len(requests)
    await server.stop(None)
    return found


print("grpcio", grpc.__version__, "on Python", sys.version.split()[0])
gc.disable()  # as between two collections
sync = kept_sync()
print(f"sync: {sync} requests in memory")
in_memory = asyncio.run(kept(refuse))
gc.collect()
left = len(requests)
print(f"asyncio: {in_memory} requests in memory, {left} after gc.collect()")
deleted = asyncio.run(kept(refuse_without))
print(f"asyncio, the handler deletes its request before it aborts: {deleted} requests in memory")
sys.exit(0 if (sync, in_memory, left, deleted) == (0, CALLS, 0, 0) else 1)
PYTHON
