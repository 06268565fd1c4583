"""A model's description, on its way from the engine to the fronts."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import CheckpointError
from gemwire_server.processes.control_messages import MODEL_BYTES
from gemwire_server.processes.engine_process import describe
from gemwire_server.runners.loading import load
from gemwire_server.text.prompts import PromptTable
from support.calling import gemwire
from support.server_process import server_process


def with_prompt(source: Path, folder: Path, prompt: str) -> Path:
    """A copy of a checkpoint with one more prompt."""
    shutil.copytree(source, folder)
    file = folder / "config_sentence_transformers.json"
    config = json.loads(file.read_text())
    config["prompts"]["long"] = prompt
    file.write_text(json.dumps(config))
    return folder


def test_prompts_that_no_client_could_receive_are_refused_in_words(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = with_prompt(tiny_checkpoint, tmp_path / "large", "p: " * (5 << 20))
    done = gemwire("serve", "--model", str(folder), "--address", "127.0.0.1:0")
    assert done.returncode == 1
    assert re.search(r"--max-response-bytes is 4194304: raise it", done.stderr.splitlines()[-1])


def test_prompts_that_clients_can_receive_are_served(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """3.9 MiB of UTF-8, which JSON writes as 7.8 MiB."""
    folder = with_prompt(tiny_checkpoint, tmp_path / "large", "漢" * 1_360_000)
    with server_process(folder, engine="process") as server:
        assert server.address


def test_a_description_that_fits_no_line_is_refused_in_words(tiny_checkpoint: Path) -> None:
    config = ServerConfig(model=str(tiny_checkpoint))
    loaded = load(open_checkpoint(config.model), config)
    assert describe(loaded).max_batch_tokens == loaded.config.max_batch_tokens
    prompts = PromptTable({"long": "p" * MODEL_BYTES})
    with pytest.raises(CheckpointError, match="shorten the prompts"):
        describe(replace(loaded, model=replace(loaded.model, prompts=prompts)))
