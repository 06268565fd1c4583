#!/bin/sh
# grpcio-reflection does not find methods (grpc/grpc#34743).
#
# The reflection protocol lets a client ask for the file that contains a symbol, and names methods among the
# symbols ("<package>.<service>[.<method>]"). grpcio-reflection 1.85.1 with protobuf 7.36.2 finds services,
# messages, fields and enum values, and answers NOT_FOUND for a method: protobuf's FindFileContainingSymbol
# raises KeyError for it. So `grpcurl describe Service.Method` and `ghz --call` fail. It serves v1alpha only.
#
# Exit code 0: as described. Needs python3 with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    grpcio==1.85.1 grpcio-reflection==1.85.1 grpcio-health-checking==1.85.1 protobuf==7.36.2
"$folder/venv/bin/python" - <<'PYTHON'
import importlib.util
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

server = grpc.server(ThreadPoolExecutor(2))
health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
reflection.enable_server_reflection([health.SERVICE_NAME, reflection.SERVICE_NAME], server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()

SYMBOLS = {
    "grpc.health.v1.Health": True,
    "grpc.health.v1.Health.Check": False,  # what a good engineer would not guess
    "grpc.health.v1.HealthCheckRequest": True,
    "grpc.health.v1.HealthCheckRequest.service": True,
    "grpc.health.v1.HealthCheckResponse.SERVING": True,
}
requests = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=s) for s in SYMBOLS]
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    answers = list(stub.ServerReflectionInfo(iter(requests)))
server.stop(None).wait()

found = {}
for symbol, answer in zip(SYMBOLS, answers):
    found[symbol] = answer.HasField("file_descriptor_response")
    print(f"{symbol:45s}", "found" if found[symbol] else answer.error_response.error_message)
only_alpha = importlib.util.find_spec("grpc_reflection.v1") is None
print("grpc.reflection.v1 in the package:", not only_alpha)
raise SystemExit(found != SYMBOLS or not only_alpha)
PYTHON
