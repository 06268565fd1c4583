#!/usr/bin/env bash
# grpcio: closing a grpc.aio channel raises asyncio.CancelledError in every task that awaits a call on it,
# although no code cancelled the task. An application takes this for its own cancellation: a TaskGroup
# does not report the lost call at all, and asyncio.gather(return_exceptions=True) and `except Exception`
# treat it as a cancellation. The sync channel raises grpc.RpcError with the code CANCELLED.
#
# Seen with grpcio 1.85.1 on Python 3.11:
#   sync: _InactiveRpcError CANCELLED
#   asyncio: CancelledError, the task was asked to cancel 0 times
#   a TaskGroup around the call ends without an error
#
# Exit code 0: as described. Needs python3 with pip, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" grpcio==1.85.1
PYTHONPATH="$folder" python3 - <<'PYTHON'
import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

hold = threading.Event()


def wait(request, context):
    hold.wait()
    return b""


print("grpcio", grpc.__version__, "on Python", sys.version.split()[0])
server = grpc.server(ThreadPoolExecutor(8))
method = grpc.unary_unary_rpc_method_handler(wait)
handlers = grpc.method_handlers_generic_handler("service", {"Method": method})
server.add_generic_rpc_handlers((handlers,))
address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
server.start()

channel = grpc.insecure_channel(address)
closing = threading.Timer(0.5, channel.close)
closing.start()
try:
    channel.unary_unary("/service/Method")(b"")
except grpc.RpcError as error:
    sync = error.code()
    print("sync:", type(error).__name__, sync.name)


async def call(channel):
    try:
        await channel.unary_unary("/service/Method")(b"")
    except BaseException as error:
        asked = asyncio.current_task().cancelling()
        print(f"asyncio: {type(error).__name__}, the task was asked to cancel {asked} times")
        seen.append((type(error), asked))
        raise


async def grouped():
    channel = grpc.aio.insecure_channel(address)
    async with asyncio.TaskGroup() as group:
        group.create_task(call(channel))
        await asyncio.sleep(0.5)
        await channel.close()
    print("a TaskGroup around the call ends without an error")


seen = []
asyncio.run(grouped())
hold.set()
server.stop(None).wait()
as_seen = sync is grpc.StatusCode.CANCELLED and seen == [(asyncio.CancelledError, 0)]
sys.exit(0 if as_seen else 1)
PYTHON
