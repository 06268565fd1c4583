"""Checks the keys of a checkpoint's JSON files.

A key is followed, or it changes no vector, or it has the one value that is implemented. Anything else
is refused by name: serving without it would give other vectors than the checkpoint's author meant.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gemwire_server.errors import CheckpointError


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of one file. `fixed` names the values that are implemented, the usual one first, which
    is also what an absent key means. `ignored_prefixes` begin keys that are ignored too.
    """

    file: str
    read: Collection[str]
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    ignored: Collection[str] = ()
    ignored_prefixes: tuple[str, ...] = ()

    def check(self, where: str | Path, raw: Mapping[str, Any]) -> None:
        """Raises CheckpointError for a key that is unknown or has a value that is not implemented."""
        for key, allowed in self.fixed.items():
            if key in raw and raw[key] not in allowed:
                raise CheckpointError(
                    f"{where}: {key} is {raw[key]!r}; only {allowed[0]!r} is implemented"
                )
        known = {*self.read, *self.fixed, *self.ignored}
        for key in sorted(set(raw) - known):
            if not key.startswith(self.ignored_prefixes):
                raise CheckpointError(
                    f"{where}: unknown key {key!r}: not implemented; a key that changes no vector "
                    "may be removed from the file"
                )
