"""The model that a server serves, as requests are checked against it and as APIs describe it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gemwire_server.text.prompts import PromptTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """`dimensions` are the sizes of its vectors, largest first; `max_tokens` is its window, and
    `hidden_size` the size of the final hidden state of a token.

    `default_task` is a name of `text.prompts.TASKS`, or empty; `dtype` and `engine` describe where and
    in what the model is computed, for people.
    """

    name: str
    revision: str
    dimensions: tuple[int, ...]
    default_dimensions: int
    hidden_size: int
    max_tokens: int
    vocabulary_size: int
    prompts: PromptTable
    default_task: str
    dtype: str
    engine: str

    def to_fields(self) -> dict[str, Any]:
        """The model as values of JSON, for another process."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "ServedModel":
        """The model that `to_fields` gave."""
        prompts = PromptTable(**fields["prompts"])
        return cls(**{**fields, "prompts": prompts, "dimensions": tuple(fields["dimensions"])})
