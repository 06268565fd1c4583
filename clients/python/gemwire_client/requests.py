"""Builds messages of Python values, in pieces that a server takes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client.errors import too_large

V = TypeVar("V")


class Document(NamedTuple):
    """A text with a title, for the task "retrieval_document"."""

    text: str
    title: str


Text = str | Document | Sequence[int] | NDArray[np.integer]
"""A text, a text with its title, or the ids of a text's tokens without prompt and special tokens."""


def _words(enum: Any, prefix: str) -> dict[str, Any]:
    """Maps the names of an enum, as Python code writes them, to their numbers."""
    words = {name.removeprefix(prefix).lower(): number for name, number in enum.items()}
    del words["unspecified"]
    return words


TASKS = _words(pb.TaskType, "TASK_TYPE_")
TRUNCATIONS = _words(pb.Truncation, "TRUNCATION_")
ENCODINGS = _words(pb.VectorEncoding, "VECTOR_ENCODING_")

# Bytes of a message beside its texts: options, and a few for each text.
MESSAGE_OVERHEAD = 65_536
# Bytes of an answer beside its results, of a result beside its vector, and of an error in its place: see
# Limits.max_response_bytes in the .proto.
ANSWER_OVERHEAD, RESULT_OVERHEAD, ERROR_BYTES = 1_024, 48, 512


@dataclass(frozen=True, slots=True)
class Limits:
    """The server's limits of one request."""

    max_inputs_per_request: int
    max_request_bytes: int
    max_batch_tokens: int
    max_queue_tokens: int
    max_stream_inflight_inputs: int
    max_response_bytes: int = 0
    """0 where the server is older than this limit."""


@dataclass(frozen=True, slots=True)
class Model:
    """The model of a server. `dimensions` is the full size of a vector, `supported_dimensions` are all
    sizes, and `default_dimensions` is the size where a request asks for none."""

    name: str
    revision: str
    dtype: str
    engine: str
    dimensions: int
    supported_dimensions: tuple[int, ...]
    default_dimensions: int
    max_input_tokens: int
    vocabulary_size: int
    default_task: str | None
    prompts: Mapping[str, str]
    limits: Limits
    server_version: str

    @classmethod
    def of(cls, message: pb.Model) -> "Model":
        limits = message.limits
        names = {number: name for name, number in TASKS.items()}
        return cls(
            name=message.name,
            revision=message.revision,
            dtype=message.dtype,
            engine=message.engine,
            dimensions=message.dimensions,
            supported_dimensions=tuple(message.supported_dimensions),
            # Servers before this field gave the full size.
            default_dimensions=message.default_dimensions or message.dimensions,
            max_input_tokens=message.max_input_tokens,
            vocabulary_size=message.vocabulary_size,
            default_task=names.get(message.default_task),
            prompts=dict(message.prompts),
            limits=Limits(
                max_inputs_per_request=limits.max_inputs_per_request,
                max_request_bytes=limits.max_request_bytes,
                max_batch_tokens=limits.max_batch_tokens,
                max_queue_tokens=limits.max_queue_tokens,
                max_stream_inflight_inputs=limits.max_stream_inflight_inputs,
                max_response_bytes=limits.max_response_bytes,
            ),
            server_version=message.server_version,
        )


class Options(TypedDict, total=False):
    """How texts are embedded; an option that is left out is the server's default.

    `task`, `prompt_name` and `prompt` say what goes before each text, and exclude each other: a task of the
    model card ("retrieval_query", "clustering", … or a TaskType), a name of `Model.prompts`, or a text as
    it is. `dimensions` is one of `Model.supported_dimensions`. `normalize` False leaves a shortened vector
    as it is. `truncation` is "error", "end" or "start". `encoding`, how vectors travel, is "float32",
    "bfloat16", "float16" or "int8", all decoded to float32, or for an index, as they are, "int8_fixed",
    "ubinary", "binary" or "ubinary_lsb": see VectorEncoding in the .proto. A higher `priority` runs first;
    0 is normal.
    """

    task: str | int | None
    prompt_name: str | None
    prompt: str | None
    dimensions: int | None
    normalize: bool
    truncation: str | int
    encoding: str | int
    priority: int


def options(
    *,
    task: str | int | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
    dimensions: int | None = None,
    normalize: bool = True,
    truncation: str | int = "error",
    encoding: str | int = "float32",
    priority: int = 0,
) -> pb.EmbedOptions:
    """The EmbedOptions. Raises ValueError, which lists the known words, for a word that the API lacks."""
    if sum(given is not None for given in (task, prompt_name, prompt)) > 1:
        raise ValueError("task, prompt_name and prompt exclude each other")
    message = pb.EmbedOptions(
        output_dimensionality=dimensions or 0,
        normalize=normalize,
        truncation=_named("truncation", truncation, TRUNCATIONS),
        encoding=_named("encoding", encoding, ENCODINGS),
        priority=priority,
    )
    if task is not None:
        message.task = _named("task", task, TASKS)
    elif prompt_name is not None:
        message.prompt_name = prompt_name
    elif prompt is not None:
        message.prompt_text = prompt
    return message


def _named(what: str, word: str | int, table: Mapping[str, V]) -> V:
    """The number of a name, or of a number of the API's own enum."""
    for name, number in table.items():
        if word in (name, number):
            return number
    raise ValueError(f"{what} {word!r} is not one of {', '.join(table)}")


def text_input(text: Text) -> pb.EmbedInput:
    """One text as a message. Raises ValueError for text that is not Unicode, TypeError for other types."""
    match text:
        case Document(value, title):
            return _of_text(value, title)
        case str():
            return _of_text(text, "")
    ids = text.tolist() if isinstance(text, np.ndarray) else text
    # Not Iterable: an iterator would be used up by the first of several tries, and bytes are no ids.
    if not isinstance(ids, Sequence) or isinstance(ids, bytes | bytearray):
        raise TypeError(f"a text is a str, a Document or a sequence of token ids, not {type(text)}")
    return pb.EmbedInput(tokens=pb.TokenIds(ids=ids))


def _of_text(text: str, title: str) -> pb.EmbedInput:
    try:
        return pb.EmbedInput(text=text, title=title)
    except UnicodeEncodeError:
        raise ValueError(
            "the text holds a lone surrogate, which no encoding of Unicode has"
        ) from None


def check_several(texts: object) -> None:
    """Raises ValueError for a single text where several belong: it would be read letter by letter."""
    if isinstance(texts, str | Document):
        raise ValueError(f"this is a single {type(texts).__name__}; give a list of texts")


def with_titles(texts: Sequence[Text], titles: Sequence[str] | None) -> Sequence[Text]:
    """Texts and their titles as documents. Raises ValueError unless each text is a str with one title."""
    if titles is None:
        return texts
    if isinstance(titles, str):
        raise ValueError("titles is one str; give a list with a title for each text")
    texts, titles = list(texts), list(titles)
    if len(texts) != len(titles):
        raise ValueError(
            f"there are {len(texts)} texts and {len(titles)} titles; each text needs one, "
            '"" where it has none'
        )
    documents = []
    for index, (text, title) in enumerate(zip(texts, titles, strict=True)):
        if not isinstance(text, str):
            raise ValueError(
                f"text {index} is a Document or token ids; titles go with texts of type str"
            )
        if not isinstance(title, str):
            raise ValueError(f"title {index} is {type(title).__name__}, not str")
        documents.append(Document(text, title))
    return documents


def result_bytes(dimensions: int) -> int:
    """The most bytes that a text takes in a response, in any encoding."""
    return max(4 * dimensions + RESULT_OVERHEAD, ERROR_BYTES)


def request_slices(
    inputs: Sequence[pb.EmbedInput],
    limits: Limits,
    answer_bytes: int,
    *,
    window: int,
    prompt_bytes: int,
) -> Iterator[slice]:
    """Neighbours that fit in one request, and their answers, of `answer_bytes` each, in one answer.

    No token stands for less than a byte of a text and its prompt, and no text has more tokens than the
    model's `window`: so the tokens of a request fit in the server's queue. Raises InvalidInput for a text
    that fits in no request.
    """
    start = size = tokens = 0
    room = room_for_texts(limits)
    most = limits.max_inputs_per_request
    if limits.max_response_bytes:
        answered = (limits.max_response_bytes - ANSWER_OVERHEAD) // answer_bytes
        most = max(1, min(most, answered))
    for i, message in enumerate(inputs):
        own = message.ByteSize() + 8
        if own > room:
            raise too_large(own, limits.max_request_bytes, i)
        own_tokens = min(window, own + prompt_bytes)
        too_many = limits.max_queue_tokens and tokens + own_tokens > limits.max_queue_tokens
        if i > start and (i - start >= most or size + own > room or too_many):
            yield slice(start, i)
            start, size, tokens = i, 0, 0
        size += own
        tokens += own_tokens
    if len(inputs) > start:
        yield slice(start, len(inputs))


def room_for_texts(limits: Limits) -> int:
    """Bytes of texts that fit in one message."""
    return max(limits.max_request_bytes // 2, limits.max_request_bytes - MESSAGE_OVERHEAD)


def less_one(limits: Limits, window: int) -> Limits:
    """The limits without one input of at most `window` tokens: the source of a similarity, which counts
    besides its targets."""
    queue = limits.max_queue_tokens
    return replace(
        limits,
        max_inputs_per_request=max(1, limits.max_inputs_per_request - 1),
        max_queue_tokens=queue and max(1, queue - window),
    )


def similarity(
    source: Text, task: str | int | None, target_task: str | int | None, dimensions: int | None
) -> pb.ComputeSimilarityRequest:
    """The request, without its targets."""
    request = pb.ComputeSimilarityRequest(
        source=text_input(source), options=options(task=task, dimensions=dimensions)
    )
    if target_task is not None:
        request.target_options.CopyFrom(options(task=target_task, dimensions=dimensions))
    return request
