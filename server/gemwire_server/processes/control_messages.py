"""The messages between the supervisor and its children, each a line of JSON on the control channel."""

import json
from dataclasses import asdict, dataclass
from typing import Any

LINE_BYTES = 64 << 20
"""The longest line. The longest lines describe a model, with its prompts."""
MODEL_BYTES = LINE_BYTES // 2
"""The longest EngineReady: the supervisor sends its model on to fronts beside a configuration. JSON takes
at most six bytes for one of UTF-8, so a description within the default --max-response-bytes has room."""

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChildStart:
    """The first message to a child. `config` has the fields of its ServerConfig; `name` is the child's
    name for metrics, such as engine0, and `metrics_folder` the folder that they are kept in, or empty."""

    config: Fields
    name: str
    metrics_folder: str


@dataclass(frozen=True, slots=True)
class StartEngine(ChildStart):
    """`loader` makes the model, see `runners.loading.Loader`. The engine listens at `path`."""

    loader: str
    path: str


@dataclass(frozen=True, slots=True)
class StartFront(ChildStart):
    """`model` has the fields of the ServedModel."""

    model: Fields


@dataclass(frozen=True, slots=True)
class EngineReady:
    """An engine computes. `model` has the fields of its ServedModel; its steps have `max_batch_tokens`."""

    model: Fields
    max_batch_tokens: int


@dataclass(frozen=True, slots=True)
class EngineBusy:
    """A few times a second: an engine has been at its oldest step for so long, 0 between steps."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CloseEngine:
    """An engine answers what it accepted, and ends."""


@dataclass(frozen=True, slots=True)
class FrontReady:
    """A front listens, and connects to the engines it is given."""


@dataclass(frozen=True, slots=True)
class FrontServing:
    """Whether a front can answer calls has changed."""

    serving: bool


@dataclass(frozen=True, slots=True)
class EngineLost:
    """A front's link to an engine broke, while the engine computed the texts of these digests."""

    engine: int
    running: list[str]


@dataclass(frozen=True, slots=True)
class ConnectEngine:
    """An engine listens at `path`; a front connects to it."""

    engine: int
    path: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Digests of texts that a front has computed alone from now on, and of texts that it refuses."""

    suspects: list[str]
    convicted: list[str]


@dataclass(frozen=True, slots=True)
class RestartTime:
    """The last start of an engine took so long. Callers are advised to wait as long while one restarts."""

    seconds: float


@dataclass(frozen=True, slots=True)
class DrainFront:
    """A front refuses new calls, answers what it accepted, and ends."""

    lame_duck_seconds: float


@dataclass(frozen=True, slots=True)
class StartFailed:
    """A child cannot start; the text is for people."""

    message: str


ControlMessage = (
    StartEngine
    | StartFront
    | EngineReady
    | EngineBusy
    | CloseEngine
    | FrontReady
    | FrontServing
    | EngineLost
    | ConnectEngine
    | Quarantined
    | RestartTime
    | DrainFront
    | StartFailed
)
_TYPES: dict[str, type[ControlMessage]] = {kind.__name__: kind for kind in ControlMessage.__args__}


def encode(message: ControlMessage) -> bytes:
    """The message as a line, with its newline."""
    return json.dumps([type(message).__name__, asdict(message)]).encode() + b"\n"


def decode(line: bytes) -> ControlMessage:
    """The message of a line. Raises ValueError for a line that is none, such as another version's."""
    try:
        name, fields = json.loads(line)
        return _TYPES[name](**fields)
    except (KeyError, TypeError) as error:
        raise ValueError("not a message of this version") from error
