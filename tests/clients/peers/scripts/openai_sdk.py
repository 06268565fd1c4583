"""The openai package, both clients and both encodings."""

import asyncio
import base64
import struct
from typing import Any

from openai import AsyncOpenAI, OpenAI

from support.peer_script import DOCUMENT, GIVEN, QUERY, RAW, error, finish, vectors

BASE = f"{GIVEN.http}/v1"


def rows(answer: Any) -> list[list[float]]:
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    return [item.embedding for item in answer.data]


client = OpenAI(base_url=BASE, api_key="any")
embed = client.embeddings.create

query_model, document_model = f"{GIVEN.model}:query", f"{GIVEN.model}:document"
vectors("default", QUERY, rows(embed(model=query_model, input=GIVEN.queries)))
vectors("default", DOCUMENT, rows(embed(model=document_model, input=GIVEN.documents)))
vectors("no prompt", RAW, rows(embed(model=GIVEN.model, input=GIVEN.queries)))
vectors(
    "float", QUERY, rows(embed(model=query_model, input=GIVEN.queries, encoding_format="float"))
)
vectors(
    "dimensions",
    DOCUMENT,
    rows(embed(model=document_model, input=GIVEN.documents, dimensions=GIVEN.dimensions)),
)
one_by_one = [embed(model=query_model, input=text, user="someone") for text in GIVEN.queries]
vectors("one by one", QUERY, [rows(answer)[0] for answer in one_by_one])
for label, field in {
    "task": {"task": "retrieval_query"},
    "prompt_name": {"prompt_name": "query"},
    "input_type": {"input_type": "query"},
}.items():
    vectors(label, QUERY, rows(embed(model=GIVEN.model, input=GIVEN.queries, extra_body=field)))

as_base64: Any = embed(model=query_model, input=GIVEN.queries, encoding_format="base64").data
decoded = [base64.b64decode(item.embedding) for item in as_base64]
vectors("base64", QUERY, [struct.unpack(f"<{len(data) // 4}f", data) for data in decoded])


async def with_asyncio() -> Any:
    async with AsyncOpenAI(base_url=BASE, api_key="any") as made:
        return await made.embeddings.create(model=query_model, input=GIVEN.queries)


vectors("asyncio", QUERY, rows(asyncio.run(with_asyncio())))

with_token = OpenAI(base_url=f"{GIVEN.guarded_http}/v1", api_key=GIVEN.token)
vectors("token", QUERY, rows(with_token.embeddings.create(model=query_model, input=GIVEN.queries)))

models = [model.id for model in client.models.list()]
assert {GIVEN.model, query_model, document_model} <= set(models), models
assert all("embed" in model for model in models), models
assert client.models.retrieve(query_model).id == query_model

error("too_long", lambda: embed(model=GIVEN.model, input=GIVEN.long_text))
error("unknown_model", lambda: embed(model="text-embedding-3-small", input="Mars"))
error("token_ids", lambda: embed(model=GIVEN.model, input=[64, 293]))
wrong_token = OpenAI(base_url=f"{GIVEN.guarded_http}/v1", api_key="wrong")
error("wrong_token", lambda: wrong_token.embeddings.create(model=GIVEN.model, input="Mars"))
full = OpenAI(base_url=f"{GIVEN.full_http}/v1", api_key="any", max_retries=0)
error("overload", lambda: full.embeddings.create(model=GIVEN.model, input="Mars"))
finish()
