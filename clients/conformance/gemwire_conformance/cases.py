"""The cases: what is called, what the scripted server does, and what the caller gets."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "cases"
Case = dict[str, Any]

KEYS = {
    "name", "about", "server", "token", "timeout", "call", "model", "script", "asks", "expect",
}  # fmt: skip
SCRIPTED = "scripted"


def load() -> dict[str, Case]:
    """All cases by name. Raises ValueError for a name that is there twice or a key that has no meaning."""
    cases: dict[str, Case] = {}
    for path in sorted(FOLDER.glob("*.json")):
        for case in json.loads(path.read_text())["cases"]:
            name = case["name"]
            if name in cases:
                raise ValueError(f"{path.name}: there are two cases {name}")
            if unknown := case.keys() - KEYS:
                raise ValueError(f"{path.name}: case {name} has {sorted(unknown)}")
            cases[name] = case
    return cases
