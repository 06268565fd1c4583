"""Writes a synthetic checkpoint."""

import os
import shutil
from pathlib import Path

from gemwire_server.checkpoints.synthetic.configs import write_configs
from gemwire_server.checkpoints.synthetic.geometry import GEOMETRIES, Geometry
from gemwire_server.checkpoints.synthetic.tensors import Draw, encoder_shapes, write_shards
from gemwire_server.checkpoints.synthetic.tokenizer import write_tokenizer
from gemwire_server.errors import CheckpointError


def make_checkpoint(
    directory: Path,
    *,
    geometry: str,
    seed: int,
    tokenizer: Path | None = None,
    dtype: str = "bfloat16",
    shard_bytes: int | None = None,
) -> None:
    """Writes a checkpoint into a folder that is new or empty. The same arguments give the same bytes.

    `tokenizer` is a SentencePiece model to copy; without one, one is trained from sample.txt.
    `dtype` is bfloat16 or float32. With `shard_bytes` the encoder's tensors go into several files
    of about that size. Raises CheckpointError for a geometry or dtype that there is not, and for a
    tokenizer that does not fit.
    """
    if geometry not in GEOMETRIES:
        raise CheckpointError(f"no geometry {geometry!r}; there are {', '.join(GEOMETRIES)}")
    if dtype not in ("bfloat16", "float32"):
        raise CheckpointError(f"dtype {dtype!r}: a checkpoint is bfloat16 or float32")
    # Written under another name until it is whole: half a checkpoint must not look like one.
    partial = directory.with_name(f".{directory.name}.{os.getpid()}.part")
    try:
        _write(partial, GEOMETRIES[geometry], seed, tokenizer, dtype, shard_bytes)
        partial.replace(directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write(
    directory: Path,
    sizes: Geometry,
    seed: int,
    tokenizer: Path | None,
    dtype: str,
    shard_bytes: int | None,
) -> None:
    directory.mkdir(parents=True)
    write_tokenizer(directory, tokenizer, sizes.vocab_size)
    write_configs(directory, sizes, dtype)
    draw = Draw(seed, dtype)
    encoder = encoder_shapes(sizes)
    if shard_bytes is None:
        draw.write(directory / "model.safetensors", encoder)
    else:
        write_shards(directory, encoder, draw, shard_bytes)
    for folder, shape in (
        ("2_Dense", (sizes.dense, sizes.hidden_size)),
        ("3_Dense", (sizes.embedding_size, sizes.dense)),
    ):
        draw.write(directory / folder / "model.safetensors", {"linear.weight": shape}, folder)
