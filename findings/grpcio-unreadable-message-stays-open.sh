#!/usr/bin/env bash
# grpcio: a client of a stream whose response_deserializer raises gets INTERNAL, "Exception deserializing
# response!", as one expects. But the call stays open at the server: `cancel` does nothing any more, for the
# call object holds a status already. The server's handler
# runs on, and holds its thread and the connection, until the channel is closed. A stream whose client loop
# ends in an exception of its own is cancelled by the same call of `cancel`.
#
# gemwire's client reads messages by a function that never raises, and cancels such a stream itself.
#
# Seen with grpcio 1.85.1 on Python 3.11:
#   deserializer raises: INTERNAL, cancel() False, ended by cancel: False, by close: True
#   loop raises: ValueError, cancel() True, ended by cancel: True, by close: True
#
# Exit code 0: as described. Needs python3 with pip, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" grpcio==1.85.1
PYTHONPATH="$folder" python3 - <<'PYTHON'
import json
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

WAIT_SECONDS = 2.0
logging.disable()  # grpcio logs the deserializer's exception


def run(deserializer):
    """Reads a stream until an error, cancels it, closes the channel; says when the server saw its end."""
    ended, stop = threading.Event(), threading.Event()

    def answer(request, context):
        context.add_callback(ended.set)
        yield b"no JSON"
        stop.wait(30)

    method = grpc.unary_stream_rpc_method_handler(answer)
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("service", {"Method": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    call = channel.unary_stream("/service/Method", response_deserializer=deserializer)(b"")
    try:
        for message in call:
            json.loads(message)
    except grpc.RpcError as error:
        said = error.code().name
    except ValueError:
        said = "ValueError"
    cancelled = call.cancel()
    by_cancel = ended.wait(WAIT_SECONDS)
    channel.close()
    by_close = ended.wait(WAIT_SECONDS)
    stop.set()
    server.stop(None).wait()
    return said, cancelled, by_cancel, by_close


failed = run(json.loads)
print("deserializer raises: {}, cancel() {}, ended by cancel: {}, by close: {}".format(*failed))
looped = run(None)
print("loop raises: {}, cancel() {}, ended by cancel: {}, by close: {}".format(*looped))
as_described = failed[0] == "INTERNAL" and failed[2:] == (False, True) and looped[2]
sys.exit(0 if as_described else "grpcio behaves otherwise now")
PYTHON
