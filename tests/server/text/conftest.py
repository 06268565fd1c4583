"""Tokenizers of three vocabularies, by each backend, and transformers' of the same files."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from gemwire_mini import CHECKPOINT
from gemwire_server.checkpoints.synthetic.tokenizer import write_tokenizer
from gemwire_server.text.tokenizer import Tokenizer
from support.tokenizer_folders import backend_of, copy

ROWS = 262_144
VOCABULARIES = ["trained", "mini", "gemma"]


@pytest.fixture(scope="session", params=VOCABULARIES)
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tokenizer files, of the small vocabulary, gemwire-mini's and Gemma's."""
    made = tmp_path_factory.mktemp("files") / str(request.param)
    if request.param == "mini":
        return copy(CHECKPOINT, made)
    if request.param == "trained":
        return copy(request.getfixturevalue("tiny_checkpoint"), made)
    made.mkdir()
    write_tokenizer(made, request.getfixturevalue("gemma_tokenizer"), ROWS)
    return made


@pytest.fixture(scope="session", params=["SentencePiece", "HuggingFace"])
def by_backend(
    request: pytest.FixtureRequest, files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    """The files' tokenizer, by each of the two backends."""
    folder = Path(shutil.copytree(files, tmp_path_factory.mktemp("backend") / "files"))
    if request.param == "HuggingFace":
        (folder / "tokenizer.model").unlink()
    tokenizer = Tokenizer.load(folder, max_tokens=4096, vocab_size=ROWS)
    assert backend_of(tokenizer) == request.param
    return tokenizer


@pytest.fixture(scope="session")
def by_transformers(files: Path) -> Any:
    return AutoTokenizer.from_pretrained(str(files))
