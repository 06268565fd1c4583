import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_QUEUE_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_CALLER_QUEUE_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_UNREACHABLE: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_CALLS: _ClassVar[ErrorReason]
    ERROR_REASON_QUOTA_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_DRAINING: _ClassVar[ErrorReason]
    ERROR_REASON_ENGINE_RESTARTING: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_MISSING_TOKEN: _ClassVar[ErrorReason]
    ERROR_REASON_WRONG_TOKEN: _ClassVar[ErrorReason]
    ERROR_REASON_TOKEN_REVOKED: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_MALFORMED_MESSAGE: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_INPUTS: _ClassVar[ErrorReason]
    ERROR_REASON_REQUEST_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_RESPONSE_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_STREAM_NOT_OPEN: _ClassVar[ErrorReason]
    ERROR_REASON_STREAM_ALREADY_OPEN: _ClassVar[ErrorReason]
    ERROR_REASON_UNKNOWN_TASK: _ClassVar[ErrorReason]
    ERROR_REASON_UNKNOWN_PROMPT: _ClassVar[ErrorReason]
    ERROR_REASON_PROMPT_TOO_LONG: _ClassVar[ErrorReason]
    ERROR_REASON_UNSUPPORTED_DIMENSION: _ClassVar[ErrorReason]
    ERROR_REASON_DIMENSIONS_DIFFER: _ClassVar[ErrorReason]
    ERROR_REASON_UNKNOWN_TRUNCATION: _ClassVar[ErrorReason]
    ERROR_REASON_UNKNOWN_ENCODING: _ClassVar[ErrorReason]
    ERROR_REASON_UNSUPPORTED_PRIORITY: _ClassVar[ErrorReason]
    ERROR_REASON_UNKNOWN_PAGE_TOKEN: _ClassVar[ErrorReason]
    ERROR_REASON_NEGATIVE_PAGE_SIZE: _ClassVar[ErrorReason]
    ERROR_REASON_EMPTY_TEXT: _ClassVar[ErrorReason]
    ERROR_REASON_TEXT_TOO_LONG: _ClassVar[ErrorReason]
    ERROR_REASON_TITLE_WITHOUT_DOCUMENT: _ClassVar[ErrorReason]
    ERROR_REASON_TOKEN_ID_OUT_OF_RANGE: _ClassVar[ErrorReason]
    ERROR_REASON_POISON_INPUT: _ClassVar[ErrorReason]
    ERROR_REASON_DEVICE_LOST: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]

class TaskType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_TYPE_UNSPECIFIED: _ClassVar[TaskType]
    TASK_TYPE_RETRIEVAL_QUERY: _ClassVar[TaskType]
    TASK_TYPE_RETRIEVAL_DOCUMENT: _ClassVar[TaskType]
    TASK_TYPE_QUESTION_ANSWERING: _ClassVar[TaskType]
    TASK_TYPE_FACT_VERIFICATION: _ClassVar[TaskType]
    TASK_TYPE_CLASSIFICATION: _ClassVar[TaskType]
    TASK_TYPE_CLUSTERING: _ClassVar[TaskType]
    TASK_TYPE_SEMANTIC_SIMILARITY: _ClassVar[TaskType]
    TASK_TYPE_CODE_RETRIEVAL_QUERY: _ClassVar[TaskType]

class Truncation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRUNCATION_UNSPECIFIED: _ClassVar[Truncation]
    TRUNCATION_ERROR: _ClassVar[Truncation]
    TRUNCATION_END: _ClassVar[Truncation]
    TRUNCATION_START: _ClassVar[Truncation]

class VectorEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VECTOR_ENCODING_UNSPECIFIED: _ClassVar[VectorEncoding]
    VECTOR_ENCODING_FLOAT32: _ClassVar[VectorEncoding]
    VECTOR_ENCODING_BFLOAT16: _ClassVar[VectorEncoding]
    VECTOR_ENCODING_FLOAT16: _ClassVar[VectorEncoding]
    VECTOR_ENCODING_INT8: _ClassVar[VectorEncoding]
    VECTOR_ENCODING_UBINARY: _ClassVar[VectorEncoding]
    VECTOR_ENCODING_BINARY: _ClassVar[VectorEncoding]
    VECTOR_ENCODING_UBINARY_LSB: _ClassVar[VectorEncoding]
    VECTOR_ENCODING_INT8_FIXED: _ClassVar[VectorEncoding]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_QUEUE_FULL: ErrorReason
ERROR_REASON_CALLER_QUEUE_FULL: ErrorReason
ERROR_REASON_DEADLINE_UNREACHABLE: ErrorReason
ERROR_REASON_TOO_MANY_CALLS: ErrorReason
ERROR_REASON_QUOTA_EXCEEDED: ErrorReason
ERROR_REASON_DRAINING: ErrorReason
ERROR_REASON_ENGINE_RESTARTING: ErrorReason
ERROR_REASON_DEADLINE_EXCEEDED: ErrorReason
ERROR_REASON_MISSING_TOKEN: ErrorReason
ERROR_REASON_WRONG_TOKEN: ErrorReason
ERROR_REASON_TOKEN_REVOKED: ErrorReason
ERROR_REASON_MODEL_NOT_FOUND: ErrorReason
ERROR_REASON_MALFORMED_MESSAGE: ErrorReason
ERROR_REASON_TOO_MANY_INPUTS: ErrorReason
ERROR_REASON_REQUEST_TOO_LARGE: ErrorReason
ERROR_REASON_RESPONSE_TOO_LARGE: ErrorReason
ERROR_REASON_STREAM_NOT_OPEN: ErrorReason
ERROR_REASON_STREAM_ALREADY_OPEN: ErrorReason
ERROR_REASON_UNKNOWN_TASK: ErrorReason
ERROR_REASON_UNKNOWN_PROMPT: ErrorReason
ERROR_REASON_PROMPT_TOO_LONG: ErrorReason
ERROR_REASON_UNSUPPORTED_DIMENSION: ErrorReason
ERROR_REASON_DIMENSIONS_DIFFER: ErrorReason
ERROR_REASON_UNKNOWN_TRUNCATION: ErrorReason
ERROR_REASON_UNKNOWN_ENCODING: ErrorReason
ERROR_REASON_UNSUPPORTED_PRIORITY: ErrorReason
ERROR_REASON_UNKNOWN_PAGE_TOKEN: ErrorReason
ERROR_REASON_NEGATIVE_PAGE_SIZE: ErrorReason
ERROR_REASON_EMPTY_TEXT: ErrorReason
ERROR_REASON_TEXT_TOO_LONG: ErrorReason
ERROR_REASON_TITLE_WITHOUT_DOCUMENT: ErrorReason
ERROR_REASON_TOKEN_ID_OUT_OF_RANGE: ErrorReason
ERROR_REASON_POISON_INPUT: ErrorReason
ERROR_REASON_DEVICE_LOST: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
TASK_TYPE_UNSPECIFIED: TaskType
TASK_TYPE_RETRIEVAL_QUERY: TaskType
TASK_TYPE_RETRIEVAL_DOCUMENT: TaskType
TASK_TYPE_QUESTION_ANSWERING: TaskType
TASK_TYPE_FACT_VERIFICATION: TaskType
TASK_TYPE_CLASSIFICATION: TaskType
TASK_TYPE_CLUSTERING: TaskType
TASK_TYPE_SEMANTIC_SIMILARITY: TaskType
TASK_TYPE_CODE_RETRIEVAL_QUERY: TaskType
TRUNCATION_UNSPECIFIED: Truncation
TRUNCATION_ERROR: Truncation
TRUNCATION_END: Truncation
TRUNCATION_START: Truncation
VECTOR_ENCODING_UNSPECIFIED: VectorEncoding
VECTOR_ENCODING_FLOAT32: VectorEncoding
VECTOR_ENCODING_BFLOAT16: VectorEncoding
VECTOR_ENCODING_FLOAT16: VectorEncoding
VECTOR_ENCODING_INT8: VectorEncoding
VECTOR_ENCODING_UBINARY: VectorEncoding
VECTOR_ENCODING_BINARY: VectorEncoding
VECTOR_ENCODING_UBINARY_LSB: VectorEncoding
VECTOR_ENCODING_INT8_FIXED: VectorEncoding

class EmbedOptions(_message.Message):
    __slots__ = ("model", "task", "prompt_name", "prompt_text", "output_dimensionality", "normalize", "truncation", "encoding", "priority", "include_timing")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    PROMPT_NAME_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TEXT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_DIMENSIONALITY_FIELD_NUMBER: _ClassVar[int]
    NORMALIZE_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TIMING_FIELD_NUMBER: _ClassVar[int]
    model: str
    task: TaskType
    prompt_name: str
    prompt_text: str
    output_dimensionality: int
    normalize: bool
    truncation: Truncation
    encoding: VectorEncoding
    priority: int
    include_timing: bool
    def __init__(self, model: _Optional[str] = ..., task: _Optional[_Union[TaskType, str]] = ..., prompt_name: _Optional[str] = ..., prompt_text: _Optional[str] = ..., output_dimensionality: _Optional[int] = ..., normalize: _Optional[bool] = ..., truncation: _Optional[_Union[Truncation, str]] = ..., encoding: _Optional[_Union[VectorEncoding, str]] = ..., priority: _Optional[int] = ..., include_timing: _Optional[bool] = ...) -> None: ...

class EmbedInput(_message.Message):
    __slots__ = ("text", "tokens", "title")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    text: str
    tokens: TokenIds
    title: str
    def __init__(self, text: _Optional[str] = ..., tokens: _Optional[_Union[TokenIds, _Mapping]] = ..., title: _Optional[str] = ...) -> None: ...

class TokenIds(_message.Message):
    __slots__ = ("ids", "complete")
    IDS_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    complete: bool
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., complete: _Optional[bool] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("values", "data", "dimensions", "encoding", "scale", "token_count", "truncated")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    data: bytes
    dimensions: int
    encoding: VectorEncoding
    scale: float
    token_count: int
    truncated: bool
    def __init__(self, values: _Optional[_Iterable[float]] = ..., data: _Optional[bytes] = ..., dimensions: _Optional[int] = ..., encoding: _Optional[_Union[VectorEncoding, str]] = ..., scale: _Optional[float] = ..., token_count: _Optional[int] = ..., truncated: _Optional[bool] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("tokenize", "queue", "compute", "total", "batch_texts", "batch_tokens")
    TOKENIZE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    BATCH_TEXTS_FIELD_NUMBER: _ClassVar[int]
    BATCH_TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokenize: _duration_pb2.Duration
    queue: _duration_pb2.Duration
    compute: _duration_pb2.Duration
    total: _duration_pb2.Duration
    batch_texts: int
    batch_tokens: int
    def __init__(self, tokenize: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., queue: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., compute: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., total: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., batch_texts: _Optional[int] = ..., batch_tokens: _Optional[int] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("input", "options")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    input: EmbedInput
    options: EmbedOptions
    def __init__(self, input: _Optional[_Union[EmbedInput, _Mapping]] = ..., options: _Optional[_Union[EmbedOptions, _Mapping]] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("embedding", "timing", "model_revision")
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    embedding: Embedding
    timing: Timing
    model_revision: str
    def __init__(self, embedding: _Optional[_Union[Embedding, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., model_revision: _Optional[str] = ...) -> None: ...

class BatchEmbedRequest(_message.Message):
    __slots__ = ("inputs", "options")
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.RepeatedCompositeFieldContainer[EmbedInput]
    options: EmbedOptions
    def __init__(self, inputs: _Optional[_Iterable[_Union[EmbedInput, _Mapping]]] = ..., options: _Optional[_Union[EmbedOptions, _Mapping]] = ...) -> None: ...

class EmbedResult(_message.Message):
    __slots__ = ("embedding", "error")
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    embedding: Embedding
    error: _status_pb2.Status
    def __init__(self, embedding: _Optional[_Union[Embedding, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class BatchEmbedResponse(_message.Message):
    __slots__ = ("results", "timing", "model_revision")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[EmbedResult]
    timing: Timing
    model_revision: str
    def __init__(self, results: _Optional[_Iterable[_Union[EmbedResult, _Mapping]]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., model_revision: _Optional[str] = ...) -> None: ...

class EmbedStreamRequest(_message.Message):
    __slots__ = ("open", "batch")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    open: StreamOpen
    batch: StreamBatch
    def __init__(self, open: _Optional[_Union[StreamOpen, _Mapping]] = ..., batch: _Optional[_Union[StreamBatch, _Mapping]] = ...) -> None: ...

class StreamOpen(_message.Message):
    __slots__ = ("options", "ordered")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    ORDERED_FIELD_NUMBER: _ClassVar[int]
    options: EmbedOptions
    ordered: bool
    def __init__(self, options: _Optional[_Union[EmbedOptions, _Mapping]] = ..., ordered: _Optional[bool] = ...) -> None: ...

class StreamBatch(_message.Message):
    __slots__ = ("first_id", "inputs")
    FIRST_ID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    first_id: int
    inputs: _containers.RepeatedCompositeFieldContainer[EmbedInput]
    def __init__(self, first_id: _Optional[int] = ..., inputs: _Optional[_Iterable[_Union[EmbedInput, _Mapping]]] = ...) -> None: ...

class EmbedStreamResponse(_message.Message):
    __slots__ = ("opened", "results", "go_away")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    GO_AWAY_FIELD_NUMBER: _ClassVar[int]
    opened: StreamOpened
    results: StreamResults
    go_away: StreamGoAway
    def __init__(self, opened: _Optional[_Union[StreamOpened, _Mapping]] = ..., results: _Optional[_Union[StreamResults, _Mapping]] = ..., go_away: _Optional[_Union[StreamGoAway, _Mapping]] = ...) -> None: ...

class StreamOpened(_message.Message):
    __slots__ = ("model_revision", "max_inflight_inputs", "max_inputs_per_message", "max_request_bytes")
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    MAX_INFLIGHT_INPUTS_FIELD_NUMBER: _ClassVar[int]
    MAX_INPUTS_PER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MAX_REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    model_revision: str
    max_inflight_inputs: int
    max_inputs_per_message: int
    max_request_bytes: int
    def __init__(self, model_revision: _Optional[str] = ..., max_inflight_inputs: _Optional[int] = ..., max_inputs_per_message: _Optional[int] = ..., max_request_bytes: _Optional[int] = ...) -> None: ...

class StreamResults(_message.Message):
    __slots__ = ("results", "timing", "granted_inputs")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    GRANTED_INPUTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[StreamResult]
    timing: Timing
    granted_inputs: int
    def __init__(self, results: _Optional[_Iterable[_Union[StreamResult, _Mapping]]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., granted_inputs: _Optional[int] = ...) -> None: ...

class StreamResult(_message.Message):
    __slots__ = ("id", "embedding", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: int
    embedding: Embedding
    error: _status_pb2.Status
    def __init__(self, id: _Optional[int] = ..., embedding: _Optional[_Union[Embedding, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class StreamGoAway(_message.Message):
    __slots__ = ("reason", "reconnect_after")
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_AFTER_FIELD_NUMBER: _ClassVar[int]
    reason: str
    reconnect_after: _duration_pb2.Duration
    def __init__(self, reason: _Optional[str] = ..., reconnect_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ComputeSimilarityRequest(_message.Message):
    __slots__ = ("source", "targets", "options", "target_options")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    TARGET_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    source: EmbedInput
    targets: _containers.RepeatedCompositeFieldContainer[EmbedInput]
    options: EmbedOptions
    target_options: EmbedOptions
    def __init__(self, source: _Optional[_Union[EmbedInput, _Mapping]] = ..., targets: _Optional[_Iterable[_Union[EmbedInput, _Mapping]]] = ..., options: _Optional[_Union[EmbedOptions, _Mapping]] = ..., target_options: _Optional[_Union[EmbedOptions, _Mapping]] = ...) -> None: ...

class SimilarityResult(_message.Message):
    __slots__ = ("score", "error")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    score: float
    error: _status_pb2.Status
    def __init__(self, score: _Optional[float] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class ComputeSimilarityResponse(_message.Message):
    __slots__ = ("results", "timing", "model_revision")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SimilarityResult]
    timing: Timing
    model_revision: str
    def __init__(self, results: _Optional[_Iterable[_Union[SimilarityResult, _Mapping]]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., model_revision: _Optional[str] = ...) -> None: ...

class TokenizeRequest(_message.Message):
    __slots__ = ("input", "options", "include_pieces", "include_spans")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_PIECES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_SPANS_FIELD_NUMBER: _ClassVar[int]
    input: EmbedInput
    options: EmbedOptions
    include_pieces: bool
    include_spans: bool
    def __init__(self, input: _Optional[_Union[EmbedInput, _Mapping]] = ..., options: _Optional[_Union[EmbedOptions, _Mapping]] = ..., include_pieces: _Optional[bool] = ..., include_spans: _Optional[bool] = ...) -> None: ...

class TokenizeResponse(_message.Message):
    __slots__ = ("ids", "pieces", "over_limit", "spans", "timing", "model_revision")
    IDS_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    OVER_LIMIT_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    pieces: _containers.RepeatedScalarFieldContainer[str]
    over_limit: bool
    spans: _containers.RepeatedCompositeFieldContainer[TokenSpan]
    timing: Timing
    model_revision: str
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., pieces: _Optional[_Iterable[str]] = ..., over_limit: _Optional[bool] = ..., spans: _Optional[_Iterable[_Union[TokenSpan, _Mapping]]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., model_revision: _Optional[str] = ...) -> None: ...

class TokenSpan(_message.Message):
    __slots__ = ("start_byte", "end_byte")
    START_BYTE_FIELD_NUMBER: _ClassVar[int]
    END_BYTE_FIELD_NUMBER: _ClassVar[int]
    start_byte: int
    end_byte: int
    def __init__(self, start_byte: _Optional[int] = ..., end_byte: _Optional[int] = ...) -> None: ...

class DetokenizeRequest(_message.Message):
    __slots__ = ("model", "ids", "keep_special_tokens")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    KEEP_SPECIAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    model: str
    ids: _containers.RepeatedScalarFieldContainer[int]
    keep_special_tokens: bool
    def __init__(self, model: _Optional[str] = ..., ids: _Optional[_Iterable[int]] = ..., keep_special_tokens: _Optional[bool] = ...) -> None: ...

class DetokenizeResponse(_message.Message):
    __slots__ = ("text", "model_revision")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    text: str
    model_revision: str
    def __init__(self, text: _Optional[str] = ..., model_revision: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "display_name", "revision", "dtype", "dimensions", "supported_dimensions", "max_input_tokens", "supported_tasks", "default_task", "prompts", "supported_encodings", "limits", "server_version", "vocabulary_size", "engine", "default_dimensions")
    class PromptsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    SUPPORTED_DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SUPPORTED_TASKS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_TASK_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    SUPPORTED_ENCODINGS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    revision: str
    dtype: str
    dimensions: int
    supported_dimensions: _containers.RepeatedScalarFieldContainer[int]
    max_input_tokens: int
    supported_tasks: _containers.RepeatedScalarFieldContainer[TaskType]
    default_task: TaskType
    prompts: _containers.ScalarMap[str, str]
    supported_encodings: _containers.RepeatedScalarFieldContainer[VectorEncoding]
    limits: Limits
    server_version: str
    vocabulary_size: int
    engine: str
    default_dimensions: int
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., revision: _Optional[str] = ..., dtype: _Optional[str] = ..., dimensions: _Optional[int] = ..., supported_dimensions: _Optional[_Iterable[int]] = ..., max_input_tokens: _Optional[int] = ..., supported_tasks: _Optional[_Iterable[_Union[TaskType, str]]] = ..., default_task: _Optional[_Union[TaskType, str]] = ..., prompts: _Optional[_Mapping[str, str]] = ..., supported_encodings: _Optional[_Iterable[_Union[VectorEncoding, str]]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., server_version: _Optional[str] = ..., vocabulary_size: _Optional[int] = ..., engine: _Optional[str] = ..., default_dimensions: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_inputs_per_request", "max_request_bytes", "max_batch_tokens", "max_queue_tokens", "max_stream_inflight_inputs", "max_response_bytes")
    MAX_INPUTS_PER_REQUEST_FIELD_NUMBER: _ClassVar[int]
    MAX_REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAM_INFLIGHT_INPUTS_FIELD_NUMBER: _ClassVar[int]
    MAX_RESPONSE_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_inputs_per_request: int
    max_request_bytes: int
    max_batch_tokens: int
    max_queue_tokens: int
    max_stream_inflight_inputs: int
    max_response_bytes: int
    def __init__(self, max_inputs_per_request: _Optional[int] = ..., max_request_bytes: _Optional[int] = ..., max_batch_tokens: _Optional[int] = ..., max_queue_tokens: _Optional[int] = ..., max_stream_inflight_inputs: _Optional[int] = ..., max_response_bytes: _Optional[int] = ...) -> None: ...
