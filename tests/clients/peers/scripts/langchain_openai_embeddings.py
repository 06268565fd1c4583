"""LangChain's OpenAIEmbeddings."""

import asyncio
import os
from pathlib import Path
from typing import Any

from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr

from support.peer_script import DOCUMENT, GIVEN, QUERY, error, finish, vectors

# litellm brings the vocabulary that LangChain would download to make token ids.
os.environ["TIKTOKEN_CACHE_DIR"] = str(
    Path(GIVEN.folder, "litellm", "litellm_core_utils", "tokenizers")
)


def embeddings(model: str = GIVEN.model, base: str = GIVEN.http, **options: Any) -> Any:
    options = {"check_embedding_ctx_length": False, "api_key": SecretStr("any"), **options}
    return OpenAIEmbeddings(model=model, base_url=f"{base}/v1", max_retries=0, **options)


queries = embeddings(f"{GIVEN.model}:query")
vectors("embed_query", QUERY, [queries.embed_query(text) for text in GIVEN.queries])
documents = embeddings(f"{GIVEN.model}:document")
vectors("embed_documents", DOCUMENT, documents.embed_documents(GIVEN.documents))
vectors("asyncio", DOCUMENT, asyncio.run(documents.aembed_documents(GIVEN.documents)))
short = embeddings(f"{GIVEN.model}:document", dimensions=GIVEN.dimensions)
vectors("dimensions", DOCUMENT, short.embed_documents(GIVEN.documents))
with_task = embeddings(model_kwargs={"extra_body": {"task": "retrieval_query"}})
vectors("task", QUERY, [with_task.embed_query(text) for text in GIVEN.queries])

error("too_long", lambda: embeddings().embed_query(GIVEN.long_text))
error("token_ids", lambda: embeddings(check_embedding_ctx_length=True).embed_query("Mars"))
error("wrong_token", lambda: embeddings(base=GIVEN.guarded_http).embed_query("Mars"))
error("overload", lambda: embeddings(base=GIVEN.full_http).embed_query("Mars"))
finish()
