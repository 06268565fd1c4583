"""A model whose tokens were added to, beside its old tokenizer.model: vectors of sentence-transformers."""

import shutil
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.checkpoints.synthetic import make_checkpoint
from gemwire_server.engine.packing import pack
from gemwire_server.runners.cpu import CpuRunner
from support.tokenizer_folders import edit

TEXTS = ["the [ENT] of Mars", "[ENT]", "[ENT][ENT] <bos>x", "no such token", "  [TWO] the\n\n[ENT]"]


def load(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})


def test_added_tokens_count_beside_an_old_tokenizer_model(tmp_path: Path) -> None:
    source, saved = tmp_path / "tiny", tmp_path / "saved"
    make_checkpoint(source, geometry="tiny", seed=0, dtype="float32")
    model = load(source)
    assert model.tokenizer.add_tokens(["[ENT]"]) == 1
    assert model.tokenizer.add_tokens(["[TWO]"], special_tokens=True) == 1
    model[0].auto_model.resize_token_embeddings(len(model.tokenizer))
    model.save_pretrained(str(saved))
    # Like a folder that was saved into again, with a key that does not mention <bos>.
    shutil.copy(source / "tokenizer.model", saved)
    edit(saved / "tokenizer_config.json", add_eos_token=True, drop=["add_bos_token"])

    checkpoint = open_checkpoint(str(saved))
    tokenizer = checkpoint.load_tokenizer()
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    found = CpuRunner.load(checkpoint, dtype="float32", threads=0).run(pack(ids))
    for expected in (model.encode(TEXTS), load(saved).encode(TEXTS)):
        np.testing.assert_allclose(found, expected, atol=5e-6)
