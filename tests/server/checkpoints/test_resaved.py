"""Folders as each version of sentence-transformers saves them, against its own vectors in float32."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gemwire_mini import CHECKPOINT as MINI
from gemwire_server.checkpoints import Checkpoint, open_checkpoint
from gemwire_server.checkpoints.synthetic import make_checkpoint
from gemwire_server.engine.packing import pack
from gemwire_server.runners.cpu import CpuRunner
from gemwire_server.text.tokenizer import Truncation
from support.reference_versions import PARAMETERS, Reference
from uninstalled import ROOT

RESAVE = ROOT / "tests" / "support" / "reference_scripts" / "resave.py"
CASES = ("tuned", "settings", "mini")
FP32_TOLERANCE = 5e-6  # of a unit vector's entries; sums are taken in another order


@pytest.fixture(scope="module", params=PARAMETERS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one version saved, a folder and an .npz a case, and texts.json."""
    reference: Reference = request.param
    folder = tmp_path_factory.mktemp(reference.name)
    make_checkpoint(folder / "tiny", geometry="tiny", seed=0, dtype="float32")
    reference.run(RESAVE, folder / "tiny", MINI, folder)
    return folder


def embed(checkpoint: Checkpoint, texts: list[str]) -> dict[str, NDArray[np.float32]]:
    """As `resave.embed`: the vectors by prompt, of the checkpoint's default size."""
    table, tokenizer = checkpoint.prompts, checkpoint.load_tokenizer()
    runner = CpuRunner.load(checkpoint, dtype="float32", threads=0)
    prompts = {
        "default": table.default,
        "query": table.for_task("retrieval_query"),
        "document": table.for_task("retrieval_document"),
    }
    vectors = {}
    for name, prompt in prompts.items():
        encoded = [tokenizer.encode(t, prompt=prompt, truncation=Truncation.END) for t in texts]
        found = runner.run(pack([text.ids for text in encoded]))
        vectors[name] = found[:, : checkpoint.default_dimensions]
    return vectors


@pytest.mark.parametrize("case", CASES)
def test_a_saved_folder_gives_the_vectors_of_what_was_saved(saved: Path, case: str) -> None:
    texts = json.loads((saved / "texts.json").read_text())
    expected = np.load(saved / f"{case}.npz")
    for prompt, vectors in embed(open_checkpoint(str(saved / case)), texts).items():
        # Versions before 5.4 cut to truncate_dim, but do not save it.
        meant = expected[prompt]
        np.testing.assert_allclose(vectors[:, : meant.shape[1]], meant, atol=FP32_TOLERANCE)
        # transformers 5 forgets small letters when it loads a Gemma tokenizer: the mini's vectors are
        # then others than those of the model that was saved.
        if case != "mini":
            np.testing.assert_allclose(vectors, expected[f"{prompt} again"], atol=FP32_TOLERANCE)


def test_the_settings_are_as_they_were_saved(saved: Path) -> None:
    tuned, changed = (open_checkpoint(str(saved / name)) for name in ("tuned", "settings"))
    written = json.loads((saved / "settings" / "config_sentence_transformers.json").read_text())
    assert (tuned.max_tokens, changed.max_tokens) == (2048, 24)
    assert changed.prompts.default == changed.prompts.by_name("extra") == "As Ever, "
    assert changed.default_dimensions == written.get("truncate_dim", 96)
    sizes = sorted({96, 64, 32, changed.default_dimensions}, reverse=True)
    assert changed.dimensions == tuple(sizes)
    assert tuned.default_dimensions == tuned.dimensions[0] == 96
    # transformers before 5.16 saves 257 for 512.
    assert tuned.config.window == 256 and tuned.written_sliding_window in (257, 512)
