"""The least that a server in Python can be, to compare with: python -m faults.bare_server

Embed on grpc.aio, answered with 768 floats and nothing done; prints its address.
"""

import grpc
import uvloop

SERVICE, METHOD = "gemwire.v1.EmbeddingService", "Embed"
ANSWER = b"\x0a\x83\x18\x0a\x80\x18" + bytes(4 * 768)  # EmbedResponse.embedding.values


async def main() -> None:
    async def embed(request: bytes, context: object) -> bytes:
        return ANSWER

    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(embed)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main())
