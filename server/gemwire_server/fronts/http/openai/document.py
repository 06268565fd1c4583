"""The part of the OpenAPI document that describes this API."""

from collections.abc import Mapping
from typing import Any

from gemwire_server.config.options import ServerConfig
from gemwire_server.dialects.prompts import ALIASES
from gemwire_server.fronts.http.openai.names import ModelNames
from gemwire_server.fronts.http.openai.requests import ENCODING_FORMATS, TRUNCATIONS
from gemwire_server.fronts.http.schemas import Schema, errors, json_content, ref
from gemwire_server.served_model import ServedModel
from gemwire_server.text.prompts import DOCUMENT_TASK, TASKS

TAGS = ["OpenAI"]
ERRORS = {
    "400": "The request is wrong; `param` names the field.",
    "401": "The token is missing or unknown.",
    "404": "The server has no such model.",
    "413": "The body is larger than the server takes.",
    "415": "The body is not JSON, or compressed.",
}


def describe(model: ServedModel, config: ServerConfig, names: ModelNames) -> Mapping[str, Any]:
    """The paths and schemas, with the sizes, names and limits of the served model."""
    create = _operation(
        "Embed texts",
        "A vector for each input, in their order. One input that cannot be embedded fails the request.",
        "EmbeddingResponse",
    )
    create["requestBody"] = {
        "required": True,
        **json_content(ref("EmbeddingRequest")),
    }
    name = {
        "name": "model",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "example": names.ids[1],
    }
    retrieve = _operation("Look at a model", "A name of the model, listed or not.", "Model")
    return {
        "paths": {
            "/v1/embeddings": {"post": {"operationId": "createEmbedding", **create}},
            "/embeddings": {"post": create},
            "/v1/models": {
                "get": {
                    "operationId": "listModels",
                    **_operation(
                        "List the models",
                        "The served model, and its name with each suffix that chooses a prompt.",
                        "ModelList",
                    ),
                }
            },
            "/v1/models/{model}": {
                "get": {"operationId": "retrieveModel", "parameters": [name], **retrieve}
            },
        },
        "schemas": {
            "EmbeddingRequest": _request(model, config, names),
            "EmbeddingResponse": _response(model),
            "ModelList": _object(
                object={"const": "list"}, data={"type": "array", "items": ref("Model")}
            ),
            "Model": _object(
                id={"type": "string", "examples": list(names.ids)},
                object={"const": "model"},
                created={"type": "integer", "description": "Seconds since 1970; always the same."},
                owned_by={"type": "string"},
                max_model_len={"type": "integer", "description": "Tokens of the model's window."},
            ),
            "OpenAIError": _object(
                error=_object(
                    message={"type": "string"},
                    type={"type": "string"},
                    param={"type": ["string", "null"], "description": "The field at fault."},
                    code={"type": ["string", "null"]},
                )
            ),
        },
    }


def _request(model: ServedModel, config: ServerConfig, names: ModelNames) -> Schema:
    text = {"type": "string", "minLength": 1}
    ids = {
        "type": "array",
        "minItems": 1,
        "items": {"type": "integer", "minimum": 0, "maximum": model.vocabulary_size - 1},
    }
    most = {"minItems": 1, "maxItems": config.max_inputs_per_request}
    inputs: list[Schema] = [text, {"type": "array", "items": text, **most}]
    if config.http_token_ids:
        inputs += [ids, {"type": "array", "items": ids, **most}]
    fields: dict[str, Schema] = {
        "input": {
            "anyOf": inputs,
            "description": "A text, or texts."
            + " Token ids are the model's own, without special tokens." * config.http_token_ids,
        },
        "model": {
            "type": ["string", "null"],
            "description": "The served model unless it is given. A suffix chooses the prompt.",
            "examples": [names.ids[0], names.ids[1]],
        },
        "dimensions": {
            "enum": [*model.dimensions, None],
            "description": f"Numbers in a vector; {model.default_dimensions} unless it is given.",
        },
        "encoding_format": {
            "enum": [*ENCODING_FORMATS, None],
            "description": "float: numbers; base64: the bytes of little-endian float32. float by default.",
        },
        "user": {"type": ["string", "null"], "description": "Ignored."},
        "task": {
            "type": ["string", "null"],
            "description": "What the vectors are for. It chooses the prompt before each text: one of "
            f"{', '.join(TASKS)}.",
        },
        "input_type": {
            "type": ["string", "null"],
            "description": f"As task, in the words of other servers: {', '.join(ALIASES)}.",
        },
        "prompt_name": {
            "type": ["string", "null"],
            "description": "The name of a prompt in the checkpoint, instead of a task.",
        },
        "prompt": {
            "type": ["string", "null"],
            "description": "The prompt's text, instead of a task; empty for no prompt.",
        },
        "title": {
            "anyOf": [
                {"type": ["string", "null"]},
                {"type": "array", "items": {"type": ["string", "null"]}},
            ],
            "description": f"The title of the inputs, or of each, for the task {DOCUMENT_TASK}.",
        },
        "truncation": {
            "enum": [*TRUNCATIONS, None],
            "description": "What happens to a text that is longer than the model's window of "
            f"{model.max_tokens} tokens: error refuses it; end and start drop that part of it. error by "
            "default.",
        },
    }
    return {
        "type": "object",
        "required": ["input"],
        "properties": fields,
        "examples": [
            {"input": "Which planet is known as the Red Planet?", "task": "retrieval_query"}
        ],
    }


def _response(model: ServedModel) -> Schema:
    vector = {
        "anyOf": [
            {
                "type": "array",
                "items": {"type": "number"},
                "minItems": min(model.dimensions),
                "maxItems": max(model.dimensions),
            },
            {"type": "string", "contentEncoding": "base64"},
        ]
    }
    tokens = {"type": "integer", "description": "Tokens computed, prompts included."}
    one = _object(object={"const": "embedding"}, index={"type": "integer"}, embedding=vector)
    return _object(
        object={"const": "list"},
        data={"type": "array", "items": one},
        model={"type": "string", "description": "The model's name as the request has it."},
        usage=_object(prompt_tokens=tokens, total_tokens=tokens),
    )


def _object(**properties: Schema) -> Schema:
    """An object that always has each of the properties."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _operation(summary: str, description: str, answer: str) -> Schema:
    found = {"200": {"description": "The answer.", **json_content(ref(answer))}}
    return {
        "tags": TAGS,
        "summary": summary,
        "description": description,
        "responses": found | errors(ERRORS, ref("OpenAIError")),
    }
