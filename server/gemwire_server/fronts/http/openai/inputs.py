"""Reads the texts, or arrays of token ids, and their titles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gemwire_server.errors import InvalidInput
from gemwire_server.service.requests import Input, check_prompt_length


@dataclass(frozen=True, slots=True)
class InputLimits:
    """`inputs` is the most in one request. Without `token_ids` arrays of them are refused; with them, the
    ids are below `vocabulary`."""

    inputs: int
    token_ids: bool
    vocabulary: int


def read_inputs(
    value: Any, title: Any, limits: InputLimits
) -> tuple[Sequence[Input], Sequence[str]]:
    """The inputs, each with its path in the request. Raises InvalidInput, which names the field."""
    items, paths = _items(value)
    if len(items) > limits.inputs:
        raise InvalidInput(
            "TOO_MANY_INPUTS",
            f"input has {len(items)} entries; the limit is {limits.inputs}",
            field="input",
            count=len(items),
            limit=limits.inputs,
        )
    titles = _titles(title, len(items))
    kind = type(items[0])
    if kind is list:
        _check_token_ids_allowed(limits)
    for item, path in zip(items, paths, strict=True):
        if type(item) is not kind:
            expected = "a string" if kind is str else "an array of token ids"
            raise wrong_type(f"{path} must be {expected}, as the entries before it")
        if kind is list:
            _check_ids(item, path, limits)
        elif not item:
            raise InvalidInput("EMPTY_TEXT", "the text is empty", field=f"{path}.text")
    if kind is list:
        made = [Input(ids=ids, title=title) for ids, title in zip(items, titles, strict=True)]
    else:
        made = [Input(text, title=title) for text, title in zip(items, titles, strict=True)]
    return made, paths


def _items(value: Any) -> tuple[Sequence[Any], Sequence[str]]:
    """The entries, strings or arrays of ids, and their paths."""
    if isinstance(value, str):
        return [value], ["input"]
    if not isinstance(value, list):
        missing = "is missing: it" if value is None else "must be"
        raise wrong_type(f"input {missing} a string or an array of strings")
    if not value:
        raise InvalidInput("EMPTY_TEXT", "input is an empty array", field="input")
    if type(value[0]) is int:
        return [value], ["input"]
    if type(value[0]) not in (str, list):
        raise wrong_type("input[0] must be a string")
    return value, [f"input[{i}]" for i in range(len(value))]


def _check_token_ids_allowed(limits: InputLimits) -> None:
    if not limits.token_ids:
        raise InvalidInput(
            "TOKEN_IDS_REFUSED",
            "input is arrays of token ids. Those of another tokenizer, such as tiktoken's, would silently "
            "give wrong vectors: send strings (in LangChain, OpenAIEmbeddings with "
            "check_embedding_ctx_length=False). If they are this model's own ids, start the server with "
            "--http-token-ids",
            field="input",
        )


def _check_ids(ids: list[Any], path: str, limits: InputLimits) -> None:
    if not ids:
        raise InvalidInput("EMPTY_TEXT", "the array is empty", field=f"{path}.ids")
    if set(map(type, ids)) != {int}:
        index = next(i for i, token in enumerate(ids) if type(token) is not int)
        raise wrong_type(f"{path}[{index}] must be an integer")
    if min(ids) < 0 or max(ids) >= limits.vocabulary:
        raise InvalidInput(
            "TOKEN_ID_OUT_OF_RANGE",
            f"an id is out of range; ids are 0 to {limits.vocabulary - 1}",
            field=f"{path}.ids",
        )


def _titles(value: Any, count: int) -> Sequence[str]:
    """A title for each input, empty for none."""
    if value is None or isinstance(value, str):
        title = value or ""
        check_prompt_length(title, "title")
        return [title] * count
    if not isinstance(value, list) or len(value) != count:
        raise InvalidInput(
            "WRONG_TYPE",
            f"title must be a string, for all inputs, or an array of {count}, one for each",
            field="title",
        )
    for i, title in enumerate(value):
        if title is not None and not isinstance(title, str):
            raise InvalidInput("WRONG_TYPE", f"title[{i}] must be a string", field="title")
    return [title or "" for title in value]


def wrong_type(message: str) -> InvalidInput:
    return InvalidInput("WRONG_TYPE", message, field="input")
