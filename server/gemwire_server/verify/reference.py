"""The vectors of sentence-transformers for the same checkpoint."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gemwire_server.checkpoints import Checkpoint
from gemwire_server.text.backends import lowered
from gemwire_server.text.tokenizer import Tokenizer
from gemwire_server.verify.embedding import Vectors

CPU = torch.device("cpu")


def reference_vectors(
    checkpoint: Checkpoint,
    texts: Sequence[str],
    dtype: torch.dtype,
    batch_size: int = 1,
    device: torch.device = CPU,
) -> Vectors:
    """Vectors of texts that begin with their prompts, by sentence-transformers; fp32 [n, dimensions]."""
    import transformers
    from sentence_transformers import SentenceTransformer

    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    torch.set_float32_matmul_precision("highest")  # some images turn tf32 on
    reference = SentenceTransformer(
        str(checkpoint.path), device=str(device), model_kwargs={"dtype": dtype}
    )
    reference.truncate_dim = None  # whole vectors are compared
    if checkpoint.rereads_window:
        _set_window(reference, checkpoint.config.window)
    if _lowercases(checkpoint.load_tokenizer()):
        # transformers 5 forgets a Lowercase of tokenizer.json when it loads a Gemma tokenizer.
        texts = [lowered(text) for text in texts]
    vectors = reference.encode(
        list(texts),
        batch_size=batch_size,
        convert_to_tensor=True,
        show_progress_bar=False,
        prompt="",
    )
    result: Vectors = vectors.float().cpu().numpy()
    return result


def _lowercases(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer lowercases texts."""
    return np.array_equal(tokenizer.encode("A").ids, tokenizer.encode("a").ids)


def _set_window(reference: Any, reach: int) -> None:
    """Has transformers' Gemma 3 compute |i - j| <= reach in its sliding layers."""
    encoder = reference[0].auto_model
    encoder.config.sliding_window = reach + 1  # its bound is exclusive
    for layer in encoder.layers:
        if layer.self_attn.sliding_window is not None:
            layer.self_attn.sliding_window = reach + 1
