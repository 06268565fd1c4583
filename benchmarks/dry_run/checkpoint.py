"""Makes the checkpoint of a dry run, with one layer and texts of at most 40 tokens."""

import json
from dataclasses import replace
from pathlib import Path

from gemwire_server.checkpoints import synthetic

LAYERS = ["sliding_attention"]
LONGEST = 40


def make(folder: Path) -> Path:
    sizes = replace(synthetic.GEOMETRIES["tiny"], num_hidden_layers=len(LAYERS))
    synthetic.GEOMETRIES["dry run"] = sizes
    synthetic.make_checkpoint(folder, geometry="dry run", seed=0)
    _change(folder / "config.json", max_position_embeddings=LONGEST, layer_types=LAYERS)
    _change(folder / "sentence_bert_config.json", max_seq_length=LONGEST)
    return folder


def _change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
