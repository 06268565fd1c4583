"""LangChain's HuggingFaceEndpointEmbeddings at a server's address."""

import asyncio
from typing import Any

from langchain_huggingface import HuggingFaceEndpointEmbeddings

from support.peer_script import DOCUMENT, GIVEN, QUERY, error, finish, vectors


def embeddings(address: str = GIVEN.http, token: str | None = None, **options: Any) -> Any:
    return HuggingFaceEndpointEmbeddings(
        model=address, huggingfacehub_api_token=token, model_kwargs=options
    )


queries = embeddings(prompt_name="query")
vectors("embed_query", QUERY, [queries.embed_query(text) for text in GIVEN.queries])
documents = embeddings(prompt_name="document")
vectors("embed_documents", DOCUMENT, documents.embed_documents(GIVEN.documents))
vectors("asyncio", DOCUMENT, asyncio.run(documents.aembed_documents(GIVEN.documents)))
short = embeddings(prompt_name="document", dimensions=GIVEN.dimensions)
vectors("dimensions", DOCUMENT, short.embed_documents(GIVEN.documents))
with_token = embeddings(GIVEN.guarded_http, GIVEN.token, prompt_name="document")
vectors("token", DOCUMENT, with_token.embed_documents(GIVEN.documents))

error("too_long", lambda: embeddings(truncate=False).embed_query(GIVEN.long_text))
error("wrong_token", lambda: embeddings(GIVEN.guarded_http, "wrong").embed_query("Mars"))
error("overload", lambda: embeddings(GIVEN.full_http).embed_query("Mars"))
finish()
