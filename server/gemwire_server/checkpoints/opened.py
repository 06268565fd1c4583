"""Opens a checkpoint on disk: everything but its weights is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gemwire_server.checkpoints.files import digest
from gemwire_server.checkpoints.hub import ResolvedCheckpoint, resolve
from gemwire_server.checkpoints.pipeline import Pipeline, read_pipeline
from gemwire_server.checkpoints.reading import Reading, read_reading
from gemwire_server.checkpoints.settings import read_settings
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import CheckpointError
from gemwire_server.json_files import read_json
from gemwire_server.models import find_family
from gemwire_server.models.config import EncoderConfig
from gemwire_server.models.family import Family
from gemwire_server.text.prompts import PromptTable
from gemwire_server.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch

    from gemwire_kernels.ops import Ops
    from gemwire_server.models.encoder import Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """An opened checkpoint. `dimensions` are the sizes of its vectors, largest first;
    `default_dimensions` is the size for requests that name none.
    """

    path: Path
    name: str
    commit: str | None
    family: Family
    config: EncoderConfig
    written_sliding_window: int
    pipeline: Pipeline
    reading: Reading
    prompts: PromptTable
    dimensions: tuple[int, ...]
    default_dimensions: int
    max_tokens: int

    def load_tokenizer(self) -> Tokenizer:
        return Tokenizer.load(
            self.pipeline.encoder,
            max_tokens=self.max_tokens,
            vocab_size=self.config.vocab_size,
            lower=self.reading.lower,
        )

    def load_encoder(self, ops: "Ops", dtype: "torch.dtype", device: "torch.device") -> "Encoder":
        """Loads the encoder over `ops`, with matrices in `dtype` and vectors on `device`.

        Raises CheckpointError for weights that are damaged or of another model.
        """
        # Imported here: a process that only tokenizes needs no PyTorch.
        from gemwire_server.checkpoints.weights import load_encoder

        encoder, dense = self.pipeline.encoder, self.pipeline.dense
        return load_encoder(self.family, self.config, encoder, dense, ops, dtype, device)

    @property
    def rereads_window(self) -> bool:
        """Whether the window differs from the one that transformers reads in config.json."""
        return bool(self.config.reinterpreted)

    def revision(self) -> str:
        """Returns the hub's commit, or a digest of every file a vector depends on (reads them all).

        If config.json is read otherwise than transformers reads it, which changes vectors, a suffix
        says so.
        """
        revision = self.commit or digest(self.path, self.pipeline.folders)
        return "-".join(filter(None, (revision, self.config.reinterpreted)))


def open_configured(config: ServerConfig) -> Checkpoint:
    """Opens the configured checkpoint. Raises CheckpointError with what to do."""
    return open_checkpoint(config.model, config.revision or None, config.sliding_window)


def open_checkpoint(model: str, revision: str | None = None, sliding_window: int = 0) -> Checkpoint:
    """Opens a folder, or a hub id at a revision. Raises CheckpointError with what to do.

    `sliding_window` replaces that of config.json unless it is 0.
    """
    resolved = resolve(model, revision)
    try:
        return _read(resolved, sliding_window)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, OSError) as error:
        # A value of a wrong type. Values that are only not implemented have been refused by name.
        raise CheckpointError(
            f"{resolved.path}: its configuration is damaged: {type(error).__name__}: {error}"
        ) from error


def _read(resolved: ResolvedCheckpoint, sliding_window: int) -> Checkpoint:
    pipeline = read_pipeline(resolved.path)
    raw = read_json(pipeline.encoder / "config.json")
    family = find_family(raw)
    config = family.read_config(raw, sliding_window)
    reading = read_reading(pipeline.encoder)
    settings = read_settings(resolved.path)
    full = config.hidden_size
    for folder in pipeline.dense:
        full = int(read_json(folder / "config.json")["out_features"])
    # sentence-transformers cuts to any size; a size larger than the vector cuts nothing.
    default = min(settings.truncate_dim or full, full)
    return Checkpoint(
        path=resolved.path,
        name=resolved.name,
        commit=resolved.revision,
        family=family,
        config=config,
        written_sliding_window=raw.get("sliding_window", 0),
        pipeline=pipeline,
        reading=reading,
        prompts=settings.prompts,
        dimensions=_dimensions(raw.get("matryoshka_dimensions"), family, full, default),
        default_dimensions=default,
        max_tokens=min(
            reading.max_tokens or config.max_position_embeddings, config.max_position_embeddings
        ),
    )


def _dimensions(
    trained: list[int] | None, family: Family, full: int, default: int
) -> tuple[int, ...]:
    if trained is None:
        published = family.TRAINED_DIMENSIONS
        trained = list(published) if full == published[0] else []
    if any(size < 1 for size in trained):
        raise CheckpointError(
            f"config.json: matryoshka_dimensions {trained} are no sizes of vectors"
        )
    # An encoder whose Dense layers were replaced keeps the sizes of its former vectors in config.json.
    fitting = {size for size in trained if size <= full}
    return tuple(sorted({full, default, *fitting}, reverse=True))
