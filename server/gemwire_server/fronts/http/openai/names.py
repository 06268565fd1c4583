"""The names of the served model on this API. A suffix of a name chooses the prompt."""

from gemwire_server.dialects.prompts import ALIASES
from gemwire_server.errors import NotFound
from gemwire_server.text.prompts import TASKS

SUFFIXES = {
    **{short: ALIASES[short] for short in ("query", "document")},
    **{task: task for task in TASKS},
}
"""Suffix → task, for clients that can choose nothing but a model's name: NAME:query."""


class ModelNames:
    """The names that requests may give the served model, each with or without a suffix.

    They are its own, the last part of a hub id, and the listed one. Tools such as n8n offer only models
    with "embed" in their name: the listed name of another model ends in -embed.
    """

    def __init__(self, served: str) -> None:
        self.served = served
        listed = served if "embed" in served else f"{served}-embed"
        self.ids = (listed, *(f"{listed}:{suffix}" for suffix in SUFFIXES))
        """What is listed: the name alone, then with each suffix."""
        self._names = {served, served.rpartition("/")[2], listed}

    def task_of(self, asked: str) -> str:
        """The task that the suffix of a name chooses, empty where the name has none.

        Raises NotFound for another model or suffix. A name may begin with models/.
        """
        name = asked.removeprefix("models/")
        if name in self._names:
            return ""
        base, _, suffix = name.rpartition(":")
        if base in self._names and suffix in SUFFIXES:
            return SUFFIXES[suffix]
        raise NotFound(
            "MODEL_NOT_FOUND",
            f"no such model; this server has {self.ids[0]}, also with a suffix that chooses the prompt: "
            + ", ".join(f":{suffix}" for suffix in SUFFIXES),
        )
