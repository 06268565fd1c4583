"""What a request asks for, checked: messages in, plain values out, InvalidInput naming the field."""

from dataclasses import dataclass

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.checkpoints import Checkpoint
from gemwire_server.errors import InvalidInput, NotFound
from gemwire_server.fronts.grpc.gemwire_v1.wire import VectorFormat
from gemwire_server.text.prompts import TASKS, PromptTable
from gemwire_server.text.tokenizer import Truncation

# It is tokenized anew before every text: longer than this it would be an easy way to waste a core.
MAX_PROMPT_CHARACTERS = 4096
MAX_PRIORITY = 10
TRUNCATIONS = {
    pb.TRUNCATION_UNSPECIFIED: Truncation.ERROR,
    pb.TRUNCATION_ERROR: Truncation.ERROR,
    pb.TRUNCATION_END: Truncation.END,
    pb.TRUNCATION_START: Truncation.START,
}
TASK_NAMES = [name for name, number in pb.TaskType.items() if number != pb.TASK_TYPE_UNSPECIFIED]
TASK_TYPES = {
    int(pb.TaskType.Value(name)): name.removeprefix("TASK_TYPE_").lower() for name in TASK_NAMES
}
assert set(TASK_TYPES.values()) == set(TASKS), "proto and prompts name the same tasks"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """The model as requests are checked against it."""

    name: str
    dimensions: tuple[int, ...]
    default_dimensions: int
    prompts: PromptTable
    default_task: str

    @classmethod
    def of(cls, checkpoint: Checkpoint, default_task: str) -> "ServedModel":
        return cls(
            name=checkpoint.name,
            dimensions=checkpoint.dimensions,
            default_dimensions=checkpoint.default_dimensions,
            prompts=checkpoint.prompts,
            default_task=default_task,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """EmbedOptions, checked. `task` is a name of `TASKS`, or empty where `prompt` is the prompt;
    `truncation` None is for looking only, see `Tokenizer.encode`."""

    task: str
    prompt: str
    truncation: Truncation | None
    vectors: VectorFormat
    priority: int
    include_timing: bool

    def prompt_for(self, served: ServedModel, title: str) -> str:
        """What goes before a text; a title is InvalidInput unless the task is a document's."""
        if self.task:
            return served.prompts.for_task(self.task, title)
        if title:
            raise InvalidInput(
                "TITLE_WITHOUT_DOCUMENT",
                "a title goes with TASK_TYPE_RETRIEVAL_DOCUMENT only; this request has no task",
                field="title",
            )
        return self.prompt


def check_model(name: str, served: ServedModel) -> None:
    """Raises NotFound unless the name is the served model's; empty is."""
    if name.removeprefix("models/") not in ("", served.name):
        raise NotFound("MODEL_NOT_FOUND", f"no such model; this server has models/{served.name}")


def check_options(raw: pb.EmbedOptions, served: ServedModel, path: str = "options") -> Options:
    check_model(raw.model, served)
    dimensions = raw.output_dimensionality or served.default_dimensions
    if dimensions not in served.dimensions:
        allowed = ", ".join(map(str, served.dimensions))
        raise InvalidInput(
            "UNSUPPORTED_DIMENSION",
            f"output_dimensionality is {dimensions}; the model has {allowed}",
            field=f"{path}.output_dimensionality",
        )
    if raw.truncation not in TRUNCATIONS:
        raise _unknown("truncation", raw.truncation, path)
    if raw.encoding not in pb.VectorEncoding.values():
        raise _unknown("encoding", raw.encoding, path)
    if abs(raw.priority) > MAX_PRIORITY:
        raise InvalidInput(
            "UNSUPPORTED_PRIORITY",
            f"priority is {raw.priority}; it goes from -{MAX_PRIORITY} to {MAX_PRIORITY}",
            field=f"{path}.priority",
        )
    task, prompt = _prompt(raw, served, path)
    return Options(
        task=task,
        prompt=prompt,
        truncation=TRUNCATIONS[raw.truncation],
        vectors=VectorFormat(
            dimensions=dimensions,
            normalize=raw.normalize if raw.HasField("normalize") else True,
            encoding=raw.encoding or pb.VECTOR_ENCODING_FLOAT32,
        ),
        priority=raw.priority,
        include_timing=raw.include_timing,
    )


def _prompt(raw: pb.EmbedOptions, served: ServedModel, path: str) -> tuple[str, str]:
    """(task, prompt), one of them empty."""
    match raw.WhichOneof("prompt"):
        case "prompt_name":
            try:
                return "", served.prompts.by_name(raw.prompt_name)
            except InvalidInput as error:
                error.field = f"{path}.prompt_name"
                raise
        case "prompt_text":
            if len(raw.prompt_text) > MAX_PROMPT_CHARACTERS:
                raise InvalidInput(
                    "PROMPT_TOO_LONG",
                    f"prompt_text has {len(raw.prompt_text)} characters; the limit is "
                    f"{MAX_PROMPT_CHARACTERS}",
                    field=f"{path}.prompt_text",
                )
            return "", raw.prompt_text
        case "task" if raw.task != pb.TASK_TYPE_UNSPECIFIED:
            if raw.task not in TASK_TYPES:
                raise _unknown("task", raw.task, path)
            return TASK_TYPES[raw.task], ""
    return served.default_task, "" if served.default_task else served.prompts.default


def _unknown(field: str, value: int, path: str) -> InvalidInput:
    return InvalidInput(
        f"UNKNOWN_{field.upper()}",
        f"{field} {value} is not a value of the API this server speaks",
        field=f"{path}.{field}",
    )
