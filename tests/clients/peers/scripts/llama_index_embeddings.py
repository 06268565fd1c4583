"""LlamaIndex's embeddings of servers like OpenAI's, and of Text Embeddings Inference."""

import asyncio
from typing import Any

from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

from support.peer_script import DOCUMENT, GIVEN, QUERY, error, finish, vectors


def openai_like(model: str = GIVEN.model, base: str = GIVEN.http, **options: Any) -> Any:
    return OpenAILikeEmbedding(
        model_name=model, api_base=f"{base}/v1", api_key="any", max_retries=0, **options
    )


def tei(base: str = GIVEN.http, **options: Any) -> Any:
    return TextEmbeddingsInference(model_name="gemwire-mini", base_url=base, **options)


queries, documents = openai_like(f"{GIVEN.model}:query"), openai_like(f"{GIVEN.model}:document")
vectors("openai query", QUERY, [queries.get_query_embedding(text) for text in GIVEN.queries])
vectors("openai documents", DOCUMENT, documents.get_text_embedding_batch(GIVEN.documents))
short = openai_like(f"{GIVEN.model}:document", dimensions=GIVEN.dimensions)
vectors("openai dimensions", DOCUMENT, short.get_text_embedding_batch(GIVEN.documents))
vectors(
    "openai asyncio",
    DOCUMENT,
    asyncio.run(documents.aget_text_embedding_batch(GIVEN.documents)),
)
error("openai_too_long", lambda: openai_like().get_query_embedding(GIVEN.long_text))
error("openai_wrong_token", lambda: openai_like(base=GIVEN.guarded_http).get_query_embedding("a"))
error("openai_overload", lambda: openai_like(base=GIVEN.full_http).get_query_embedding("Mars"))

# This client has no prompt_name: it writes the prompts itself, with a space after each.
prompts: dict[str, Any] = {
    "query_instruction": "task: search result | query:",
    "text_instruction": "title: none | text:",
}
vectors("tei query", QUERY, [tei(**prompts).get_query_embedding(text) for text in GIVEN.queries])
vectors("tei documents", DOCUMENT, tei(**prompts).get_text_embedding_batch(GIVEN.documents))
with_token = tei(GIVEN.guarded_http, auth_token=GIVEN.token, **prompts)
vectors("tei token", DOCUMENT, with_token.get_text_embedding_batch(GIVEN.documents))
# It reads no status, and looks for vectors in the body of an error.
error("tei_too_long", lambda: tei(truncate_text=False).get_query_embedding(GIVEN.long_text))
error("tei_wrong_token", lambda: tei(GIVEN.guarded_http).get_query_embedding("Mars"))
error("tei_overload", lambda: tei(GIVEN.full_http).get_query_embedding("Mars"))
finish()
