"""A caller's inputs and options in plain values, and their checks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gemwire_server.engine.interface import Output as Output
from gemwire_server.errors import InvalidInput, NotFound
from gemwire_server.served_model import ServedModel
from gemwire_server.service.vectors import Encoding, VectorFormat
from gemwire_server.text.prompts import DOCUMENT_TASK
from gemwire_server.text.tokenizer import Truncation

# The prompt is tokenized anew before every text: a longer one would be an easy way to waste a core.
MAX_PROMPT_CHARACTERS = 4096
MAX_PRIORITY = 10

FieldPath = Callable[[str], str]
"""From a field's name here to its path in the caller's request, for messages of errors."""


@dataclass(frozen=True, slots=True)
class Input:
    """One text, or the token ids that take its place. `complete` ids include special tokens.

    An input with neither is refused.
    """

    text: str | None = None
    ids: Sequence[int] | None = None
    complete: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """The prompt of a task of `text.prompts.TASKS`."""

    name: str


@dataclass(frozen=True, slots=True)
class PromptName:
    """A prompt of the checkpoint's own table."""

    name: str


@dataclass(frozen=True, slots=True)
class PromptText:
    """A prompt that the caller wrote."""

    text: str


PromptChoice = Task | PromptName | PromptText | None
"""None is the server's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOptions:
    """A caller's options, not checked yet. `dimensions` 0 is the model's default.

    `any_size` allows every number of dimensions up to the model's largest, not only those that the model
    was trained for. `normalize` has no effect on the outputs RAW and TOKENS.
    """

    model: str = ""
    prompt: PromptChoice = None
    dimensions: int = 0
    truncation: Truncation = Truncation.ERROR
    normalize: bool = True
    encoding: Encoding = Encoding.FLOAT32
    priority: int = 0
    output: Output = Output.UNIT
    any_size: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedOptions:
    """Options that the served model can meet. `task` is a name of `TASKS`, or empty where `prompt` is
    the prompt. `truncation` None and `spans` are for looking only, see `Tokenizer.encode`.
    `vectors.normalize` is true for the output UNIT alone."""

    task: str
    prompt: str
    truncation: Truncation | None
    vectors: VectorFormat
    priority: int
    output: Output = Output.UNIT
    spans: bool = False

    def prompt_for(self, model: ServedModel, title: str) -> str:
        """The prompt before a text. Raises InvalidInput for a title unless the task is a document's."""
        if self.task:
            return model.prompts.for_task(self.task, title)
        if title:
            raise InvalidInput(
                "TITLE_WITHOUT_DOCUMENT",
                f"a title goes with the task {DOCUMENT_TASK} only; this request has no task",
                field="title",
            )
        return self.prompt


def check_model(name: str, model: ServedModel) -> None:
    """Raises NotFound unless the name is the served model's, with or without models/, or empty."""
    if name.removeprefix("models/") not in ("", model.name):
        raise NotFound("MODEL_NOT_FOUND", f"no such model; this server has models/{model.name}")


def check_count(count: int, limit: int, field: str) -> None:
    """Raises InvalidInput for a request with more than `limit` of what `field` names."""
    if count > limit:
        raise InvalidInput(
            "TOO_MANY_INPUTS",
            f"{count} {field} in one request; the limit is {limit}",
            field=field,
            count=count,
            limit=limit,
        )


def check_prompt_length(text: str, field: str) -> None:
    """Raises InvalidInput for a prompt of more than MAX_PROMPT_CHARACTERS, or for a title as long that
    every text of a request gets: as a part of each text's prompt it would fill the memory."""
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise InvalidInput(
            "PROMPT_TOO_LONG",
            f"{field.rpartition('.')[2]} has {len(text)} characters; the limit is "
            f"{MAX_PROMPT_CHARACTERS}",
            field=field,
        )


def check_options(
    options: EmbedOptions, model: ServedModel, path: FieldPath = str
) -> CheckedOptions:
    """The options, checked against the model. Raises NotFound, and InvalidInput that names the field."""
    check_model(options.model, model)
    dimensions = options.dimensions or model.default_dimensions
    largest = model.dimensions[0]
    if dimensions not in (range(1, largest + 1) if options.any_size else model.dimensions):
        field = path("dimensions")
        sizes = ", ".join(map(str, model.dimensions))
        allowed = f"1 to {largest}" if options.any_size else sizes
        raise InvalidInput(
            "UNSUPPORTED_DIMENSION",
            f"{field.rpartition('.')[2]} is {dimensions}; the model has {allowed}",
            field=field,
        )
    if abs(options.priority) > MAX_PRIORITY:
        raise InvalidInput(
            "UNSUPPORTED_PRIORITY",
            f"priority is {options.priority}; it goes from -{MAX_PRIORITY} to {MAX_PRIORITY}",
            field=path("priority"),
        )
    task, prompt = _prompt(options.prompt, model, path)
    return CheckedOptions(
        task=task,
        prompt=prompt,
        truncation=options.truncation,
        vectors=VectorFormat(
            dimensions, options.normalize and options.output is Output.UNIT, options.encoding
        ),
        priority=options.priority,
        output=options.output,
    )


def _prompt(choice: PromptChoice, model: ServedModel, path: FieldPath) -> tuple[str, str]:
    """(task, prompt), one of them empty."""
    match choice:
        case Task(name):
            return name, ""
        case PromptName(name):
            try:
                return "", model.prompts.by_name(name)
            except InvalidInput as error:
                error.field = path("prompt_name")
                raise
        case PromptText(text):
            check_prompt_length(text, path("prompt_text"))
            return "", text
    return model.default_task, "" if model.default_task else model.prompts.default
