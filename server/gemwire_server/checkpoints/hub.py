"""Finds the folder of a model's name: gemwire-mini's, an existing one, or a snapshot of a Hugging
Face repository.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from gemwire_mini import CHECKPOINT
from gemwire_server.config.options import MINI
from gemwire_server.errors import CheckpointError

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
# The files of the layout; repositories also hold the same weights in other formats.
FILES = ["*.json", "*.safetensors", "*tokenizer.model"]


@dataclass(frozen=True, slots=True)
class ResolvedCheckpoint:
    """A checkpoint's folder; `revision` is the hub's commit, None for a local folder."""

    path: Path
    name: str
    revision: str | None


def resolve(model: str, revision: str | None = None) -> ResolvedCheckpoint:
    """Takes gemwire-mini from its package and a folder as it is; downloads a hub id ("org/name")
    unless the hub's cache has it.

    Raises CheckpointError with what to do about it.
    """
    path = CHECKPOINT if model == MINI else Path(model)
    if model and path.is_dir():
        if revision is not None:
            raise CheckpointError(f"{model} is a folder: a revision goes with a hub id only")
        return ResolvedCheckpoint(path, MINI if path is CHECKPOINT else path.resolve().name, None)
    if not HUB_ID.fullmatch(model):
        raise CheckpointError(f"{model!r} is neither a folder nor a hub id such as org/name")
    try:
        snapshot = Path(snapshot_download(model, revision=revision, allow_patterns=FILES))
    except Exception as error:  # the library raises its transports' errors beside its own
        # "Not in the cache" is the consequence; the hub's answer is the cause.
        cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else None
        raise CheckpointError(f"{model}: {_explain(model, revision, cause or error)}") from error
    return ResolvedCheckpoint(snapshot, model, snapshot.name)


def _explain(model: str, revision: str | None, error: BaseException) -> str:
    where = f"https://huggingface.co/{model}"
    token = "pass a token of an account that may read it: HF_TOKEN or `hf auth login`"
    match error:
        case GatedRepoError():
            return f"the repository is gated: accept its terms at {where}, then {token}"
        case RepositoryNotFoundError():
            return (
                f"no such folder here, and no such repository on the hub ({where}); "
                f"if it is private, {token}"
            )
        case RevisionNotFoundError():
            return f"the repository has no revision {revision!r}; see {where}/commits/main"
        case HfHubHTTPError() if error.response.status_code in (401, 403):
            return f"the hub refused access (HTTP {error.response.status_code}); {token}"
        case OfflineModeIsEnabled():
            return (
                "offline mode (HF_HUB_OFFLINE) is on, and the files are not all in the cache; "
                "run once with network access, or name a folder"
            )
    reason = (str(error).strip() or "no reason given").splitlines()[0]
    return (
        f"the download failed ({type(error).__name__}: {reason}); "
        "run it again: files that are complete are not fetched twice"
    )
