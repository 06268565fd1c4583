"""litellm's providers: openai, hosted_vllm, and huggingface for Text Embeddings Inference."""

import asyncio
from typing import Any

import litellm

from support.peer_script import DOCUMENT, GIVEN, QUERY, error, finish, vectors

litellm.suppress_debug_info = True


def rows(answer: Any) -> list[Any]:
    return [item["embedding"] for item in answer.data]


def openai(model: str, texts: list[str], base: str = GIVEN.http, **options: Any) -> Any:
    model, base = f"openai/{model}", f"{base}/v1"
    return litellm.embedding(model=model, input=texts, api_base=base, api_key="any", **options)


def tei(texts: list[str], base: str = GIVEN.http, **options: Any) -> Any:
    # Without an input_type this provider asks the hub for the model's.
    model = "huggingface/gemwire-mini"
    options = {"input_type": "feature-extraction", "api_key": "any", **options}
    return litellm.embedding(model=model, input=texts, api_base=base, **options)


short: dict[str, Any] = {
    "dimensions": GIVEN.dimensions,
    # It refuses `dimensions` for a model whose name is not OpenAI's.
    "allowed_openai_params": ["dimensions"],
}
vectors("openai query", QUERY, rows(openai(f"{GIVEN.model}:query", GIVEN.queries)))
document_model = f"{GIVEN.model}:document"
vectors("openai documents", DOCUMENT, rows(openai(document_model, GIVEN.documents)))
vectors("openai dimensions", DOCUMENT, rows(openai(document_model, GIVEN.documents, **short)))
vectors("openai task", QUERY, rows(openai(GIVEN.model, GIVEN.queries, task="retrieval_query")))
vectors(
    "openai asyncio",
    DOCUMENT,
    rows(
        asyncio.run(
            litellm.aembedding(
                model=f"openai/{document_model}",
                input=GIVEN.documents,
                api_base=f"{GIVEN.http}/v1",
                api_key="any",
            )
        )
    ),
)
for label, options in {"": {}, " dimensions": {"dimensions": GIVEN.dimensions}}.items():
    answer = litellm.embedding(
        model=f"hosted_vllm/{document_model}",
        input=GIVEN.documents,
        api_base=f"{GIVEN.http}/v1",
        **options,
    )
    vectors(f"hosted_vllm{label}", DOCUMENT, rows(answer))
vectors("tei query", QUERY, rows(tei(GIVEN.queries, prompt_name="query")))
vectors("tei documents", DOCUMENT, rows(tei(GIVEN.documents, prompt_name="document")))
with_token = tei(GIVEN.documents, GIVEN.guarded_http, prompt_name="document", api_key=GIVEN.token)
vectors("tei token", DOCUMENT, rows(with_token))

error("openai_too_long", lambda: openai(GIVEN.model, [GIVEN.long_text]))
error("openai_wrong_token", lambda: openai(GIVEN.model, ["Mars"], GIVEN.guarded_http))
error("openai_overload", lambda: openai(GIVEN.model, ["Mars"], GIVEN.full_http))
error("tei_too_long", lambda: tei([GIVEN.long_text], truncate=False))
error("tei_wrong_token", lambda: tei(["Mars"], GIVEN.guarded_http))
error("tei_overload", lambda: tei(["Mars"], GIVEN.full_http))
finish()
