"""A checkpoint on disk, read but for its weights."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gemwire_server.checkpoint.config import parse_config
from gemwire_server.checkpoint.hub import ResolvedCheckpoint, resolve
from gemwire_server.checkpoint.keys import read_json
from gemwire_server.checkpoint.modules import Pipeline, read_pipeline
from gemwire_server.checkpoint.reading import Reading, read_reading
from gemwire_server.checkpoint.settings import read_settings
from gemwire_server.errors import CheckpointError
from gemwire_server.model.config import EncoderConfig
from gemwire_server.prompts import PromptTable
from gemwire_server.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch

    from gemwire_kernels.ops import Ops
    from gemwire_server.model.gemma3 import Encoder

# The sizes EmbeddingGemma was trained for; config.json does not name them.
GEMMA_DIMENSIONS = (768, 512, 256, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a checkpoint says of itself. `dimensions` are the sizes of its vectors, largest first;
    `default_dimensions` is the size where nobody asks for one."""

    path: Path
    name: str
    commit: str | None
    config: EncoderConfig
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
        # Here, as who only tokenizes needs no PyTorch.
        from gemwire_server.checkpoint.weights import load_weights
        from gemwire_server.model.gemma3 import Encoder

        weights = load_weights(
            self.pipeline.encoder, self.pipeline.dense, self.config, dtype, device, ops
        )
        return Encoder(self.config, weights, ops)

    def revision(self) -> str:
        """The hub's commit, or a digest of every file a vector depends on (reads them all)."""
        if self.commit is not None:
            return self.commit
        digest = hashlib.sha256()
        for path in sorted(self.path.rglob("*")):
            if path.suffix not in (".json", ".safetensors", ".model"):
                continue
            with path.open("rb") as file:
                digest.update(str(path.relative_to(self.path)).encode())
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return f"sha256-{digest.hexdigest()[:16]}"


def open_checkpoint(model: str, revision: str | None = None) -> Checkpoint:
    """Opens a folder, or a hub id at a revision. Raises CheckpointError with what to do."""
    resolved = resolve(model, revision)
    try:
        return _read(resolved)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, OSError) as error:
        # A value of another kind than its key has; what is only not implemented has been named.
        raise CheckpointError(
            f"{resolved.path}: its configuration is damaged: {type(error).__name__}: {error}"
        ) from error


def _read(resolved: ResolvedCheckpoint) -> Checkpoint:
    pipeline = read_pipeline(resolved.path)
    raw = read_json(pipeline.encoder / "config.json")
    config = parse_config(raw)
    reading = read_reading(pipeline.encoder)
    settings = read_settings(resolved.path)
    full = config.hidden_size
    for folder in pipeline.dense:
        full = int(read_json(folder / "config.json")["out_features"])
    # As sentence-transformers cuts: to any size, and a larger one than there is cuts nothing.
    default = min(settings.truncate_dim or full, full)
    return Checkpoint(
        path=resolved.path,
        name=resolved.name,
        commit=resolved.revision,
        config=config,
        pipeline=pipeline,
        reading=reading,
        prompts=settings.prompts,
        dimensions=_dimensions(raw.get("matryoshka_dimensions"), full, default),
        default_dimensions=default,
        max_tokens=min(
            reading.max_tokens or config.max_position_embeddings, config.max_position_embeddings
        ),
    )


def _dimensions(trained: list[int] | None, full: int, default: int) -> tuple[int, ...]:
    if trained is None:
        trained = [size for size in GEMMA_DIMENSIONS if full == GEMMA_DIMENSIONS[0]]
    if any(not 0 < size <= full for size in trained):
        raise CheckpointError(
            f"config.json: matryoshka_dimensions {trained} do not fit vectors of {full}"
        )
    return tuple(sorted({full, default, *trained}, reverse=True))
