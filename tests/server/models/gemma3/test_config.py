"""config.json: each spelling means what transformers reads, and the table in the docs is the code's."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gemwire_server.checkpoints.pipeline import DENSE, NORMALIZE, POOLING
from gemwire_server.checkpoints.reading import READING
from gemwire_server.checkpoints.settings import SETTINGS
from gemwire_server.errors import CheckpointError
from gemwire_server.json_keys import Keys
from gemwire_server.models.gemma3.config import CONFIG, read_config
from support.reference_versions import PARAMETERS, Reference
from uninstalled import ROOT

SCRIPT = ROOT / "tests" / "support" / "reference_scripts" / "configs.py"
DOCS = ROOT / "docs" / "checkpoints.md"
FILES = (CONFIG, READING, SETTINGS, POOLING, DENSE, NORMALIZE)
# transformers halves it on the way, in some versions: compared elsewhere.
APART = {"sliding_window"}


@pytest.mark.parametrize("reference", PARAMETERS)
def test_each_spelling_is_read_as_transformers_reads_it(
    reference: Reference, tiny_checkpoint: Path
) -> None:
    raw = json.loads((tiny_checkpoint / "config.json").read_text())
    found: dict[str, Any] = json.loads(reference.run(SCRIPT, tiny_checkpoint / "config.json"))
    assert len(found) >= 10
    for name, spelled in found.items():
        config = read_config(spelled["raw"])
        kinds = [
            "full_attention" if layer.window is None else "sliding_attention"
            for layer in config.layers
        ]
        assert kinds == spelled["layer_types"] and set(kinds) == set(spelled["theta"]), name
        theta = [layer.rope_theta for layer in config.layers]
        assert theta == [spelled["theta"][kind] for kind in kinds], name
        # As saved, whole or short, it is the same model.
        for saved in (spelled["whole"], spelled["short"]):
            kept = {key: value for key, value in saved.items() if key not in APART}
            assert read_config(kept | {key: raw[key] for key in APART}) == config, name


@pytest.mark.parametrize(
    "key,value,named",
    [
        ("rope_parameters", {"rope_theta": 1e6, "rope_type": "default"}, "of no kind of layer"),
        (
            "rope_parameters",
            {"full_attention": {"rope_theta": 1e6, "factor": 8.0}},
            "full_attention",
        ),
        ("rope_parameters", {"sliding_attention": {"rope_type": "linear"}}, "sliding_attention"),
        ("rope_scaling", {"type": "linear", "factor": 8.0}, "rope_scaling"),
        ("rope_scaling", {"rope_type": "default", "rope_theta": 5.0}, "rope_scaling"),
        ("pruned_heads", {"0": [1]}, "pruned_heads"),
        ("unslothed", True, "unknown key 'unslothed'"),
    ],
)
def test_a_value_that_would_change_vectors_is_named(
    key: str, value: Any, named: str, tiny_checkpoint: Path
) -> None:
    raw = json.loads((tiny_checkpoint / "config.json").read_text())
    with pytest.raises(CheckpointError, match=named):
        read_config(raw | {key: value})


@pytest.mark.parametrize("keys", FILES, ids=[keys.file for keys in FILES])
def test_the_docs_say_what_becomes_of_each_key(keys: Keys) -> None:
    section = DOCS.read_text().split(f"### {keys.file}\n")[1].split("\n#")[0]
    told = {
        column: re.findall(r"`([\w*]+)`", row)
        for column, row in re.findall(r"^\| (\w+) \|(.*)\|$", section, re.MULTILINE)
    }
    assert sorted(told["read"]) == sorted(keys.read)
    assert sorted(told["fixed"]) == sorted(keys.fixed)
    prefixes = [f"{prefix}*" for prefix in keys.ignored_prefixes]
    assert sorted(told["ignored"]) == sorted([*keys.ignored, *prefixes])
