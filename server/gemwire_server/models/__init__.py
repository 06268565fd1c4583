"""Families of models. Each reads its configuration, plans its weights and has an encoder."""

from collections.abc import Mapping
from typing import Any

from gemwire_server.errors import CheckpointError
from gemwire_server.models import gemma3
from gemwire_server.models.family import Family

ARCHITECTURES: dict[str, Family] = {
    "gemma3_text": gemma3,
}
"""The family of each `model_type` of config.json."""


def find_family(raw: Mapping[str, Any]) -> Family:
    """Returns the family of a config.json; without a `model_type`, the first. Raises CheckpointError."""
    names = list(ARCHITECTURES)
    name = raw.get("model_type", names[0])
    if name not in names:  # `names` is a list, as the value may be unhashable
        verb = "is" if len(names) == 1 else "are"
        raise CheckpointError(
            f"config.json: model_type is {name!r}; only {' and '.join(map(repr, names))} {verb} "
            "implemented"
        )
    return ARCHITECTURES[name]
