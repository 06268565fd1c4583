"""Run with some version of sentence-transformers: python resave.py TINY MINI OUT.

Saves checkpoints as people do, each as OUT/NAME, and beside it NAME.npz with the float32 vectors of
`TEXTS` by prompt: of the model that was saved ("query") and of the folder loaded again ("query again").
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

# One is longer than `SHORT` tokens, none reaches past half a window. None ends in a space, which versions
# before 5.4 strip, or in a capital sigma, which they write in another way when it is small.
TEXTS = [
    "Which planet is known as the Red Planet?",
    "Mars, the 4th planet: ΣΟΦΊΑ, İstanbul, Straße, 火星 🚀.",
    "DEF Mean(Values):\n\treturn   SUM(Values) / LEN(Values)",
    "a",
    "Jupiter has rings." + " And Saturn has some." * 9,
]
SHORT = 24
Model = Any


def main(tiny: str, mini: str, out: str) -> None:
    """Every case, and the texts."""
    torch.manual_seed(0)
    cases: dict[str, Callable[[], Model]] = {
        "tuned": lambda: tuned(load(tiny)),
        "settings": lambda: with_settings(tiny),
        "mini": lambda: load(mini),
    }
    for name, make in cases.items():
        model = make()
        folder = Path(out) / name
        vectors = embed(model)
        model.save_pretrained(str(folder))
        again = embed(load(str(folder)))
        np.savez(f"{folder}.npz", **vectors, **{f"{key} again": again[key] for key in again})
    (Path(out) / "texts.json").write_text(json.dumps(TEXTS))


def load(folder: str, **options: Any) -> Model:
    return SentenceTransformer(
        folder, device="cpu", model_kwargs={"dtype": torch.float32}, **options
    )


def embed(model: Model) -> dict[str, Any]:
    return {
        "default": model.encode(TEXTS),
        "query": model.encode_query(TEXTS),
        "document": model.encode_document(TEXTS),
    }


def tuned(model: Model) -> Model:
    """After one step that draws two texts together: every weight is another."""
    tokenize = getattr(model, "preprocess", None) or model.tokenize
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    vectors = model(tokenize(TEXTS[:2]))["sentence_embedding"]
    (1 - vectors[0] @ vectors[1]).backward()
    optimizer.step()
    model.eval()
    return model


def with_settings(folder: str) -> Model:
    """With another value of everything that is a setting."""
    model = load(
        folder,
        prompts={"query": "Find: ", "document": "", "extra": "As Ever, "},
        default_prompt_name="extra",
        similarity_fn_name="dot",
        truncate_dim=48,
    )
    model.max_seq_length = SHORT
    return model


if __name__ == "__main__":
    main(*sys.argv[1:])
