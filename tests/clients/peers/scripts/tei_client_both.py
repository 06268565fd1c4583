"""tei-client, the package of that name, over HTTP and gRPC."""

import asyncio
from typing import Any

from tei_client import GrpcClient, HttpClient

from support.peer_script import DOCUMENT, GIVEN, QUERY, RAW, error, finish, vectors

http, grpc = HttpClient(GIVEN.http), GrpcClient(GIVEN.grpc)
clients: dict[str, Any] = {"http": http, "grpc": grpc}
for label, client in clients.items():
    vectors(f"{label} raw", RAW, client.embed(GIVEN.queries))
    vectors(f"{label} query", QUERY, client.embed(GIVEN.queries, prompt_name="query"))
    vectors(f"{label} document", DOCUMENT, client.embed(GIVEN.documents, prompt_name="document"))
    assert {"query", "document"} <= set(client.prompt_names()), label
    assert client.info().max_input_length == 2048, label
    assert client.embed_all(GIVEN.queries[0])[0], label
    [tokens] = client.tokenize("mars is red.")
    assert "".join(token.text for token in tokens.tokens if not token.special) == "mars is red."
    ids = [token.id for token in tokens.tokens]
    assert client.decode(ids, skip_special_tokens=True) in ("mars is red.", ["mars is red."])

vectors(
    "http token",
    QUERY,
    HttpClient(GIVEN.guarded_http, headers={"authorization": f"Bearer {GIVEN.token}"}).embed(
        GIVEN.queries, prompt_name="query"
    ),
)

error("grpc_too_long", lambda: grpc.embed([GIVEN.long_text]))
error("grpc_wrong_token", lambda: GrpcClient(GIVEN.guarded_grpc).embed(["Mars"]))
error("grpc_overload", lambda: GrpcClient(GIVEN.full_grpc).embed(["Mars"]))


async def with_asyncio() -> Any:
    client = GrpcClient(GIVEN.grpc)
    return await client.async_embed(GIVEN.documents, prompt_name="document")


# Last: a GrpcClient takes the event loop of the thread that makes it, and `asyncio.run` leaves none.
vectors("grpc asyncio", DOCUMENT, asyncio.run(with_asyncio()))
finish()
