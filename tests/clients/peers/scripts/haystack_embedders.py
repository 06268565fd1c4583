"""Haystack's embedders for OpenAI, and for Text Embeddings Inference over HTTP."""

from typing import Any

from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.utils import Secret
from haystack_integrations.components.embedders.huggingface_api import (
    HuggingFaceAPIDocumentEmbedder,
    HuggingFaceAPITextEmbedder,
)

from support.peer_script import DOCUMENT, GIVEN, QUERY, error, finish, vectors

DOCUMENTS = [Document(content=text) for text in GIVEN.documents]


def openai_options(base: str, token: str = "any", **options: Any) -> dict[str, Any]:
    key = Secret.from_token(token)
    return {"api_key": key, "api_base_url": f"{base}/v1", "max_retries": 0, **options}


def tei_options(base: str, token: str | None = None, **options: Any) -> dict[str, Any]:
    return {
        "api_type": "text_embeddings_inference",
        "api_params": {"url": base},
        "token": Secret.from_token(token) if token else None,
        # By default this client asks for vectors that are not normalized, and for texts to be cut.
        "normalize": True,
        "truncate": False,
        **options,
    }


def of_queries(embedder: Any) -> list[Any]:
    return [embedder.run(text)["embedding"] for text in GIVEN.queries]


def of_documents(embedder: Any) -> list[Any]:
    return [document.embedding for document in embedder.run(DOCUMENTS)["documents"]]


for label, options in {"": {}, " dimensions": {"dimensions": GIVEN.dimensions}}.items():
    made: dict[str, Any] = openai_options(GIVEN.http, **options)
    query = OpenAITextEmbedder(model=f"{GIVEN.model}:query", **made)
    vectors(f"openai query{label}", QUERY, of_queries(query))
    document = OpenAIDocumentEmbedder(model=f"{GIVEN.model}:document", progress_bar=False, **made)
    vectors(f"openai documents{label}", DOCUMENT, of_documents(document))


def openai_error(label: str, base: str, text: str = "Mars") -> None:
    made = openai_options(base)
    embedder = OpenAITextEmbedder(model=GIVEN.model, **made)
    error(f"openai_{label}", lambda: embedder.run(text))
    # Without raise_on_failure this embedder logs an error and leaves the documents without vectors.
    documents = OpenAIDocumentEmbedder(
        model=GIVEN.model, progress_bar=False, raise_on_failure=True, **made
    )
    error(f"openai_documents_{label}", lambda: documents.run([Document(content=text)]))


openai_error("too_long", GIVEN.http, GIVEN.long_text)
openai_error("wrong_token", GIVEN.guarded_http)
openai_error("overload", GIVEN.full_http)

# The embedders for Text Embeddings Inference choose no prompt by its name: `prefix` is the prompt.
query_prompt, document_prompt = "task: search result | query: ", "title: none | text: "
for label, base, token in (("", GIVEN.http, None), (" token", GIVEN.guarded_http, GIVEN.token)):
    text = HuggingFaceAPITextEmbedder(prefix=query_prompt, **tei_options(base, token))
    vectors(f"tei query{label}", QUERY, of_queries(text))
    many = HuggingFaceAPIDocumentEmbedder(
        prefix=document_prompt, progress_bar=False, **tei_options(base, token)
    )
    vectors(f"tei documents{label}", DOCUMENT, of_documents(many))

for label, base, content in (
    ("too_long", GIVEN.http, GIVEN.long_text),
    ("wrong_token", GIVEN.guarded_http, "Mars"),
    ("overload", GIVEN.full_http, "Mars"),
):
    made = tei_options(base)
    error(f"tei_{label}", lambda: HuggingFaceAPITextEmbedder(**made).run(content))  # noqa: B023
finish()
