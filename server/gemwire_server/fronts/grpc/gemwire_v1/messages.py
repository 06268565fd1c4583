"""Translates messages of gemwire.v1 to the service's plain values, and back."""

from collections.abc import Iterable

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.errors import InvalidInput
from gemwire_server.fronts.grpc.gemwire_v1.wire import ENCODING_NUMBERS
from gemwire_server.fronts.grpc.status import duration, to_status
from gemwire_server.service.requests import (
    CheckedOptions,
    EmbedOptions,
    Input,
    PromptChoice,
    PromptName,
    PromptText,
    Task,
    check_model,
)
from gemwire_server.service.results import SimilarityResults, Timing
from gemwire_server.service.service import Service
from gemwire_server.service.vectors import Encoding
from gemwire_server.text.prompts import TASKS
from gemwire_server.text.tokenizer import Truncation

TRUNCATIONS = {
    pb.TRUNCATION_UNSPECIFIED: Truncation.ERROR,
    pb.TRUNCATION_ERROR: Truncation.ERROR,
    pb.TRUNCATION_END: Truncation.END,
    pb.TRUNCATION_START: Truncation.START,
}
ENCODINGS: dict[int, Encoding] = {
    pb.VECTOR_ENCODING_UNSPECIFIED: Encoding.FLOAT32,
    **{number: each for each, number in ENCODING_NUMBERS.items()},
}
assert ENCODINGS.keys() == set(pb.VectorEncoding.values()), (
    "proto and service name the same encodings"
)
TASK_NAMES = [name for name, number in pb.TaskType.items() if number != pb.TASK_TYPE_UNSPECIFIED]
TASK_TYPES = {
    int(pb.TaskType.Value(name)): name.removeprefix("TASK_TYPE_").lower() for name in TASK_NAMES
}
assert set(TASK_TYPES.values()) == set(TASKS), "proto and prompts name the same tasks"


def check_options(raw: pb.EmbedOptions, service: Service, path: str = "options") -> CheckedOptions:
    """Raises NotFound, and InvalidInput that names the field below `path`."""
    check_model(raw.model, service.model)
    if raw.truncation not in TRUNCATIONS:
        raise _unknown("truncation", raw.truncation, path)
    if raw.encoding not in ENCODINGS:
        raise _unknown("encoding", raw.encoding, path)
    options = EmbedOptions(
        prompt=_prompt(raw, path),
        dimensions=raw.output_dimensionality,
        truncation=TRUNCATIONS[raw.truncation],
        normalize=raw.normalize if raw.HasField("normalize") else True,
        encoding=ENCODINGS[raw.encoding],
        priority=raw.priority,
    )
    return service.check(options, lambda field: f"{path}.{_field_name(field)}")


def _field_name(field: str) -> str:
    return "output_dimensionality" if field == "dimensions" else field


def _prompt(raw: pb.EmbedOptions, path: str) -> PromptChoice:
    match raw.WhichOneof("prompt"):
        case "prompt_name":
            return PromptName(raw.prompt_name)
        case "prompt_text":
            return PromptText(raw.prompt_text)
        case "task" if raw.task != pb.TASK_TYPE_UNSPECIFIED:
            if raw.task not in TASK_TYPES:
                raise _unknown("task", raw.task, path)
            return Task(TASK_TYPES[raw.task])
    return None


def _unknown(field: str, value: int, path: str) -> InvalidInput:
    return InvalidInput(
        f"UNKNOWN_{field.upper()}",
        f"{field} {value} is not a value of the API this server speaks",
        field=f"{path}.{field}",
    )


def read_input(raw: pb.EmbedInput) -> Input:
    match raw.WhichOneof("content"):
        case "text":
            return Input(raw.text, title=raw.title)
        case "tokens":
            return Input(ids=raw.tokens.ids, complete=raw.tokens.complete, title=raw.title)
    return Input(title=raw.title)


def read_inputs(raw: Iterable[pb.EmbedInput]) -> list[Input]:
    return [read_input(each) for each in raw]


def similarity_messages(results: SimilarityResults) -> list[pb.SimilarityResult]:
    """A score or an error for each target, in their order."""
    return [
        pb.SimilarityResult(error=to_status(results.errors[i]))
        if i in results.errors
        else pb.SimilarityResult(score=score)
        for i, score in enumerate(results.scores.tolist())
    ]


def timing_message(timing: Timing) -> pb.Timing:
    return pb.Timing(
        tokenize=duration(timing.tokenize_seconds),
        queue=duration(timing.queue_seconds),
        compute=duration(timing.compute_seconds),
        total=duration(timing.total_seconds),
        batch_texts=timing.batch_texts,
        batch_tokens=timing.batch_tokens,
    )
