"""Fixtures that more than one folder of tests uses."""

import os
from pathlib import Path

import pytest
import torch

from gemwire_server.checkpoints.synthetic import make_checkpoint

if not torch.cuda.is_available():
    # Before anything imports triton: there, kernels run in its interpreter, on the CPU.
    os.environ["TRITON_INTERPRET"] = "1"

GEMMA_TOKENIZER = Path(__file__).parents[2] / "shared" / "data" / "gemma3_tokenizer.model"


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint with all of EmbeddingGemma's features: bfloat16, seed 0. Read only."""
    directory = tmp_path_factory.mktemp("checkpoints") / "tiny"
    make_checkpoint(directory, geometry="tiny", seed=0)
    return directory


@pytest.fixture(scope="session")
def gemma_tokenizer() -> Path:
    """Gemma 3's vocabulary as a SentencePiece model, where it lies beside the project."""
    if not GEMMA_TOKENIZER.exists():
        pytest.skip(f"{GEMMA_TOKENIZER.name} is not part of the project")
    return GEMMA_TOKENIZER
