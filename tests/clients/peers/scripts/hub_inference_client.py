"""huggingface_hub's InferenceClient at a server's address."""

import asyncio
from typing import Any

import numpy as np
from huggingface_hub import AsyncInferenceClient, InferenceClient

from support.peer_script import DOCUMENT, GIVEN, QUERY, RAW, error, finish, vectors

embed = InferenceClient(GIVEN.http).feature_extraction
vectors("default", RAW, embed(GIVEN.queries))
vectors("query", QUERY, embed(GIVEN.queries, prompt_name="query"))
vectors("document", DOCUMENT, embed(GIVEN.documents, prompt_name="document", normalize=True))
one_by_one = [embed(text, prompt_name="query") for text in GIVEN.queries]
assert all(answer.shape[0] == 1 for answer in one_by_one)
vectors("one by one", QUERY, [answer[0] for answer in one_by_one])
vectors(
    "dimensions",
    DOCUMENT,
    embed(GIVEN.documents, prompt_name="document", dimensions=GIVEN.dimensions),
)
vectors(
    "path",
    QUERY,
    InferenceClient(f"{GIVEN.http}/embed").feature_extraction(
        GIVEN.queries, prompt_name="query", truncate=True, truncation_direction="right"
    ),
)
with_token = InferenceClient(GIVEN.guarded_http, token=GIVEN.token)
vectors("token", QUERY, with_token.feature_extraction(GIVEN.queries, prompt_name="query"))


async def with_asyncio() -> Any:
    client = AsyncInferenceClient(GIVEN.http)
    return await client.feature_extraction(GIVEN.queries, prompt_name="query")


vectors("asyncio", QUERY, asyncio.run(with_asyncio()))

similar = InferenceClient(f"{GIVEN.http}/similarity").sentence_similarity(
    GIVEN.queries[0], other_sentences=GIVEN.documents
)
wanted = embed(GIVEN.documents) @ embed(GIVEN.queries)[0]
np.testing.assert_allclose(similar, wanted, rtol=0, atol=1e-6)

# Unlike over gRPC, a server of Text Embeddings Inference cuts long texts unless asked not to.
error("too_long", lambda: embed(GIVEN.long_text, truncate=False))
error("unknown_prompt", lambda: embed("Mars", prompt_name="nope"))
error("empty_text", lambda: embed(""))
error("no_texts", lambda: embed([]))
wrong_token = InferenceClient(GIVEN.guarded_http, token="wrong")
error("wrong_token", lambda: wrong_token.feature_extraction("Mars"))
error("overload", lambda: InferenceClient(GIVEN.full_http).feature_extraction("Mars"))
finish()
