"""What gRPC itself refuses, before a call reaches gemwire."""

import time
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from faults.marked import marked
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from support.certificates import Authority, credentials
from support.refusals.observed import NONE, WAITS, Refusal, of_call, refused, refused_stream
from support.refusals.provocations import whole_call
from support.refusals.servers import Servers, Stream, one

EMBED = one(marked(0))


@whole_call("TLS handshake", "UNAVAILABLE")
def no_client_certificate(servers: Servers, _: str) -> Refusal:
    authority = Authority()
    cert, key, ca = (servers.folder / name for name in ("cert.pem", "key.pem", "ca.pem"))
    authority.pair().write(cert, key)
    ca.write_bytes(authority.pem)
    flags = ("--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(ca))
    with servers.fresh(*flags) as server:
        address = server.process.address
        good = credentials(authority, authority.pair())
        with grpc.secure_channel(address, good) as channel:
            assert EmbeddingServiceStub(channel).Embed(EMBED).embedding.dimensions
        with grpc.secure_channel(address, credentials(authority)) as channel:
            return refused(EmbeddingServiceStub(channel).Embed.future(EMBED))


@whole_call("Keepalive", "UNAVAILABLE")
def too_many_pings(servers: Servers, _: str) -> Refusal:
    eager = (
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.http2.max_pings_without_data", 0),
    )
    server = servers.get()
    with server.process.controls.held(), server.connection(*eager) as stub:
        return refused(stub.Embed.future(EMBED))


@whole_call("Connection age", "UNAVAILABLE")
def older_than_the_grace(servers: Servers, _: str) -> Refusal:
    with (
        servers.fresh("--max-connection-age", "0.1") as server,
        server.process.controls.held(),
    ):
        return refused(server.embedding.Embed.future(EMBED))


@whole_call("Streams of a connection", NONE)
def one_call_too_many(servers: Servers, _: str) -> Refusal:
    """The call over the limit waits in the client until another one ends."""
    with servers.fresh("--max-streams-per-connection", "1") as server:
        stream = Stream(server.embedding)
        waiting = server.embedding.Embed.future(EMBED)
        with server.connection() as other:  # the server answers calls meanwhile
            assert other.Embed(EMBED).embedding.dimensions
        assert not waiting.done()
        stream.send(None)
        assert waiting.result().embedding.dimensions
        return WAITS


@whole_call("Metadata", "RESOURCE_EXHAUSTED")
def large_metadata(servers: Servers, _: str) -> Refusal:
    metadata = (("key", "v" * 5000),)
    return refused(servers.get().embedding.Embed.future(EMBED, metadata=metadata))


@whole_call("Method", "UNIMPLEMENTED")
def unknown_method(servers: Servers, _: str) -> Refusal:
    return refused(servers.get().raw("Nothing", b""))


@whole_call("Health service", "NOT_FOUND")
def health_of_an_unknown_service(servers: Servers, _: str) -> Refusal:
    stub: Any = health_pb2_grpc.HealthStub(servers.get().channel)
    return refused(stub.Check.future(health_pb2.HealthCheckRequest(service="nothing")))


@whole_call("Reflection", "INVALID_ARGUMENT")
def malformed_reflection(servers: Servers, _: str) -> Refusal:
    method: Any = servers.get().channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    )
    return refused_stream(method(iter([b"\xff"])))


@whole_call("Message", "RESOURCE_EXHAUSTED")
def large_message(servers: Servers, _: str) -> Refusal:
    return refused(servers.get().raw("Embed", bytes(2 << 20)))


@whole_call("The client's deadline", "DEADLINE_EXCEEDED")
def the_clients_deadline(servers: Servers, _: str) -> Refusal:
    server = servers.get()
    with server.busy():
        began = time.monotonic()
        try:
            server.embedding.Embed(one(marked(1)), timeout=0.2)
        except grpc.RpcError as error:
            assert time.monotonic() - began >= 0.2
            return of_call(error)
    raise AssertionError("the call was answered")
