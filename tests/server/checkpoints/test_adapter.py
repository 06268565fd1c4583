"""The folder of a PEFT adapter is named as such, and what the error says to do gives its vectors."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.checkpoints.synthetic import make_checkpoint
from gemwire_server.engine.packing import pack
from gemwire_server.errors import CheckpointError
from gemwire_server.runners.cpu import CpuRunner
from support.reference_versions import Reference, parameters
from uninstalled import ROOT

SCRIPT = ROOT / "tests" / "support" / "reference_scripts" / "adapter.py"
FP32_TOLERANCE = 5e-6  # of a unit vector's entries; sums are taken in another order


@pytest.mark.parametrize("reference", parameters("peft"))
def test_an_adapter_is_merged_as_the_error_says(reference: Reference, tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "tiny", geometry="tiny", seed=0, dtype="float32")
    reference.run(SCRIPT, tmp_path / "tiny", tmp_path)
    with pytest.raises(CheckpointError, match=r"this is a PEFT adapter for .*tiny"):
        open_checkpoint(str(tmp_path / "adapter"))
    checkpoint = open_checkpoint(str(tmp_path / "merged"))
    tokenizer = checkpoint.load_tokenizer()
    texts = json.loads((tmp_path / "texts.json").read_text())
    ids = [tokenizer.encode(text).ids for text in texts]
    vectors = CpuRunner.load(checkpoint, dtype="float32", threads=0).run(pack(ids))
    np.testing.assert_allclose(vectors, np.load(tmp_path / "vectors.npy"), atol=FP32_TOLERANCE)
    unchanged = CpuRunner.load(open_checkpoint(str(tmp_path / "tiny")), dtype="float32", threads=0)
    assert np.abs(unchanged.run(pack(ids)) - vectors).max() > 0.01


@pytest.mark.parametrize("folder", ["", "0_Transformer"])
def test_an_adapter_beside_a_whole_model_is_refused(
    folder: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """sentence-transformers would load the adapter's base, and not the weights beside it."""
    copy = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, copy)
    (copy / "0_Transformer").mkdir()
    if folder:
        for path in list(copy.iterdir()):
            if path.is_file() and path.name not in (
                "modules.json",
                "config_sentence_transformers.json",
            ):
                path.rename(copy / folder / path.name)
        modules = json.loads((copy / "modules.json").read_text())
        modules[0]["path"] = folder
        (copy / "modules.json").write_text(json.dumps(modules))
    open_checkpoint(str(copy))
    (copy / folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    with pytest.raises(CheckpointError, match="this is a PEFT adapter for org/base"):
        open_checkpoint(str(copy))
