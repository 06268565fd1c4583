"""Reads the body of POST /v1/embeddings into the service's plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemwire_server.dialects.prompts import choose_prompt
from gemwire_server.errors import InvalidInput
from gemwire_server.fronts.http.openai.inputs import InputLimits, read_inputs
from gemwire_server.fronts.http.openai.names import ModelNames
from gemwire_server.service.requests import EmbedOptions, Input, PromptChoice, Task
from gemwire_server.text.tokenizer import Truncation

ENCODING_FORMATS = ("float", "base64")
TRUNCATIONS = tuple(each.value for each in Truncation)
PROMPT_FIELDS = ("task", "prompt_name", "prompt", "input_type")


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """`paths` name each input in errors. `model` is the name asked for, or the served one."""

    inputs: Sequence[Input]
    paths: Sequence[str]
    options: EmbedOptions
    encoding_format: str
    model: str


def field_name(field: str) -> str:
    """This API's name for a field of EmbedOptions."""
    return "prompt" if field == "prompt_text" else field


def read_request(body: Any, names: ModelNames, limits: InputLimits) -> EmbeddingRequest:
    """The request in a body of JSON. Fields that this API lacks are ignored, and null is no value.

    Raises NotFound for another model, and InvalidInput, which names the field.
    """
    if not isinstance(body, dict):
        raise InvalidInput("MALFORMED_MESSAGE", "the body is not a JSON object")
    model = _read_text(body, "model") or ""
    suffix_task = names.task_of(model) if model else ""
    _read_text(body, "user")
    inputs, paths = read_inputs(body.get("input"), body.get("title"), limits)
    return EmbeddingRequest(
        inputs=inputs,
        paths=paths,
        options=EmbedOptions(
            prompt=_read_prompt(body, suffix_task),
            dimensions=_read_dimensions(body.get("dimensions")),
            truncation=Truncation(_read_choice(body, "truncation", TRUNCATIONS)),
        ),
        encoding_format=_read_choice(body, "encoding_format", ENCODING_FORMATS),
        model=model or names.served,
    )


def _read_prompt(body: Mapping[str, Any], suffix_task: str) -> PromptChoice:
    fields = {name: _read_text(body, name) for name in PROMPT_FIELDS}
    prompt = choose_prompt(
        task=fields["task"] or "",
        prompt_name=fields["prompt_name"] or "",
        prompt=fields["prompt"],
        input_type=fields["input_type"] or "",
    )
    if not suffix_task:
        return prompt
    if prompt is not None:
        raise InvalidInput(
            "CONFLICTING_PROMPTS",
            "the suffix of the model's name chooses the prompt already: leave out the suffix, or "
            + ", ".join(PROMPT_FIELDS),
            field="model",
        )
    return Task(suffix_task)


def _read_dimensions(value: Any) -> int:
    if value is None:
        return 0
    # For the service 0 is the default, which here is no value.
    if type(value) is not int or value == 0:
        raise InvalidInput(
            "UNSUPPORTED_DIMENSION", "dimensions must be a positive integer", field="dimensions"
        )
    return value


def _read_choice(body: Mapping[str, Any], name: str, choices: Sequence[str]) -> str:
    """One of the choices; the first is the default."""
    value = body.get(name)
    if value is None:
        return choices[0]
    if value not in choices:
        raise InvalidInput(
            f"UNKNOWN_{name.upper()}", f"{name} must be {' or '.join(choices)}", field=name
        )
    assert isinstance(value, str)
    return value


def _read_text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    raise InvalidInput("WRONG_TYPE", f"{name} must be a string", field=name)
