"""Fixtures that more than one folder of tests uses, and the line that says what was skipped."""

import os
from pathlib import Path

import pytest
import torch

from gemwire_server.checkpoints.synthetic import make_checkpoint
from support.skips import summary

if not torch.cuda.is_available():
    # Before anything imports triton: there, kernels run in its interpreter, on the CPU.
    os.environ["TRITON_INTERPRET"] = "1"

VOCABULARY_VARIABLE = "GEMMA_TOKENIZER"
"""The one way that a test reads outside the repository: the path of Gemma 3's tokenizer.model."""


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for all skipped tests, in place of a line for each."""
    skipped = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ())]
    if skipped:
        terminalreporter.write_line(summary(skipped))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint with all of EmbeddingGemma's features: bfloat16, seed 0. Read only."""
    directory = tmp_path_factory.mktemp("checkpoints") / "tiny"
    make_checkpoint(directory, geometry="tiny", seed=0)
    return directory


@pytest.fixture(scope="session")
def gemma_tokenizer() -> Path:
    """Gemma 3's vocabulary as a SentencePiece model, where GEMMA_TOKENIZER names one."""
    if not (named := os.environ.get(VOCABULARY_VARIABLE)):
        pytest.skip(f"{VOCABULARY_VARIABLE} does not name Gemma 3's tokenizer.model")
    return Path(named)
