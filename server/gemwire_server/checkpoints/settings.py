"""Reads config_sentence_transformers.json: the prompts, and the size of a vector."""

import logging
from dataclasses import dataclass
from pathlib import Path

from gemwire_server.errors import CheckpointError
from gemwire_server.json_files import read_json_if_there
from gemwire_server.json_keys import Keys
from gemwire_server.text.prompts import PromptTable

log = logging.getLogger(__name__)

SETTINGS = Keys(
    file="config_sentence_transformers.json",
    read={"prompts", "default_prompt_name", "truncate_dim", "similarity_fn_name"},
    fixed={"model_type": ("SentenceTransformer", None)},
    ignored={"__version__", "requirements"},
)
# On vectors of length one these order texts as the cosine does.
COSINE = ("cosine", "dot", None)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the file. `truncate_dim` is the default size of a vector, None for the full size."""

    prompts: PromptTable
    truncate_dim: int | None


def read_settings(directory: Path) -> Settings:
    """Reads the file, which may be absent. Raises CheckpointError for what is not implemented."""
    path = directory / "config_sentence_transformers.json"
    raw = read_json_if_there(path)
    SETTINGS.check(path, raw)
    if (similarity := raw.get("similarity_fn_name")) not in COSINE:
        log.warning(
            "%s: similarity_fn_name is %s; vectors are as it means, but ComputeSimilarity gives cosines",
            path,
            similarity,
        )
    # A prompt of null is a name without a prompt.
    prompts = {name: text or "" for name, text in (raw.get("prompts") or {}).items()}
    if unnamed := sorted({"query", "document"} - set(prompts)) if path.exists() else []:
        log.warning(
            "%s: prompts has no %s: sentence-transformers puts nothing before such a text, and a request "
            "with that retrieval task gets the model card's prompt; name it there to decide",
            path,
            " and no ".join(unnamed),
        )
    default = raw.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise CheckpointError(f"{path}: default_prompt_name {default!r} is not in its prompts")
    size = raw.get("truncate_dim")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise CheckpointError(
            f"{path}: truncate_dim is {size!r}: a number of dimensions is expected"
        )
    return Settings(PromptTable(prompts, prompts[default] if default is not None else ""), size)
