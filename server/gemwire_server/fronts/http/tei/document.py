"""The part of the OpenAPI document that describes this API."""

from collections.abc import Mapping
from typing import Any

from gemwire_server.config.options import ServerConfig
from gemwire_server.fronts.http.schemas import Schema, errors, json_content, ref
from gemwire_server.fronts.http.tei.requests import SIDES
from gemwire_server.served_model import ServedModel

TAGS = ["Text Embeddings Inference"]
ERRORS = {
    "400": "The body is not JSON, or has nothing to work on.",
    "413": "A text or the request is larger than the server takes, or an option is wrong.",
    "415": "The body does not say that it is JSON, or is compressed.",
    "422": "A field is missing or has another type.",
    "424": "The model failed, or is of another type.",
}
STRING: Schema = {"type": "string"}
QUESTION = "Which planet is known as the Red Planet?"


def describe(model: ServedModel, config: ServerConfig) -> Mapping[str, Any]:
    """The paths and schemas, with the sizes, names and limits of the served model."""
    numbers: Schema = {"type": "array", "items": {"type": "number"}}
    embed = _operation("Embed texts", "TeiEmbedRequest", {"type": "array", "items": numbers})
    rows = {"type": "array", "items": {"type": "array", "items": numbers}}
    tokens = {"type": "array", "items": {"type": "array", "items": ref("TeiToken")}}
    posts = {
        "/embed": {"operationId": "embed", **embed},
        "/": embed,
        "/invocations": embed,
        "/embed_all": _operation("Embed every token of texts", "TeiEmbedAllRequest", rows),
        "/embed_sparse": _operation("Refused: no sparse vectors", "TeiEmbedAllRequest", None),
        "/similarity": _operation("Compare texts", "TeiSimilarityRequest", numbers),
        "/predict": _operation("Refused: no classes", "TeiPredictRequest", None),
        "/rerank": _operation("Refused: no ranks", "TeiRerankRequest", None),
        "/tokenize": _operation("Turn texts into tokens", "TeiTokenizeRequest", tokens),
        "/decode": _operation(
            "Turn tokens into text", "TeiDecodeRequest", {"type": "array", "items": STRING}
        ),
    }
    info = _operation("Look at the model and the limits", None, {"type": "object"})
    return {
        "paths": {
            **{path: {"post": operation} for path, operation in posts.items()},
            "/info": {"get": info},
        },
        "schemas": _schemas(model, config),
    }


def _schemas(model: ServedModel, config: ServerConfig) -> dict[str, Schema]:
    ids: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    most: Schema = {"minItems": 1, "maxItems": config.max_inputs_per_request}
    text_or_ids: Schema = {"anyOf": [STRING, ids]}
    inputs: Schema = {"anyOf": [STRING, ids, {"type": "array", "items": text_or_ids, **most}]}
    texts: Schema = {"anyOf": [STRING, {"type": "array", "items": STRING, **most}]}
    options = _options(model)
    of_vectors: dict[str, Schema] = {
        "normalize": {
            "type": "boolean",
            "description": "Whether vectors have length one; true by default.",
        },
        "dimensions": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": model.dimensions[0],
            "description": f"Numbers in a vector; {model.dimensions[0]} unless it is given.",
        },
    }
    pair = _object(
        {"source_sentence": STRING, "sentences": {"type": "array", "items": STRING}},
        ["source_sentence", "sentences"],
    )
    parameters = {"anyOf": [_object(options), {"type": "null"}]}
    many_ids: Schema = {"anyOf": [ids, {"type": "array", "items": ids, **most}]}
    place: Schema = {"type": ["integer", "null"], "description": "In bytes of the text's UTF-8."}
    flag: Schema = {"type": "boolean", "description": "true by default."}
    compared = {"source_sentence": QUESTION, "sentences": ["Mars", "Venus"]}
    return {
        "TeiEmbedRequest": _request(
            {"inputs": inputs, **options, **of_vectors}, {"inputs": QUESTION}
        ),
        "TeiEmbedAllRequest": _request({"inputs": inputs, **options}, {"inputs": "Mars is red."}),
        "TeiSimilarityRequest": _request(
            {"inputs": pair, "parameters": parameters}, {"inputs": compared}
        ),
        "TeiPredictRequest": _request({"inputs": {}}, {"inputs": QUESTION}),
        "TeiRerankRequest": _request(
            {"query": STRING, "texts": {"type": "array", "items": STRING}},
            {"query": QUESTION, "texts": ["Mars", "Venus"]},
            ["query", "texts"],
        ),
        "TeiTokenizeRequest": _request(
            {"inputs": texts, "add_special_tokens": flag, "prompt_name": options["prompt_name"]},
            {"inputs": "Mars is red."},
        ),
        "TeiDecodeRequest": _request(
            {"ids": many_ids, "skip_special_tokens": flag}, {"ids": [2, 300, 1]}, ["ids"]
        ),
        "TeiToken": _object(
            {
                "id": {"type": "integer"},
                "text": STRING,
                "special": {"type": "boolean"},
                "start": place,
                "stop": place,
            },
            ["id", "text", "special", "start", "stop"],
        ),
        "TeiError": _object({"error": STRING, "error_type": STRING}, ["error", "error_type"]),
    }


def _options(model: ServedModel) -> dict[str, Schema]:
    names = ", ".join(sorted(model.prompts.prompts)) or "none"
    return {
        "truncate": {
            "type": ["boolean", "null"],
            "description": f"Whether a text of more than {model.max_tokens} tokens is cut; true unless "
            "it is given.",
        },
        "truncation_direction": {
            "enum": list(SIDES),
            "description": "The side that is cut off; right by default. The left one takes the prompt too.",
        },
        "prompt_name": {
            "type": ["string", "null"],
            "description": f"The prompt to put before each text; the model has {names}.",
        },
    }


def _request(
    properties: dict[str, Schema], example: Any, required: list[str] | None = None
) -> Schema:
    return {**_object(properties, required or ["inputs"]), "examples": [example]}


def _object(properties: dict[str, Schema], required: list[str] | None = None) -> Schema:
    return {"type": "object", "properties": properties, "required": required or []}


def _operation(summary: str, request: str | None, answer: Schema | None) -> Schema:
    """An operation; without an answer, every call of it fails."""
    responses: dict[str, Schema] = {}
    if answer is not None:
        responses["200"] = {"description": "The answer.", **json_content(answer)}
    responses |= errors(ERRORS, ref("TeiError"))
    responses["401"] = {
        "description": "The token is missing or unknown.",
        "content": {"application/json": {}},
    }
    operation: Schema = {"tags": TAGS, "summary": summary, "responses": responses}
    if request is not None:
        operation["requestBody"] = {"required": True, **json_content(ref(request))}
    return operation
