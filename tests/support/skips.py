"""Why tests were skipped, in one line."""

import re
from collections import Counter
from collections.abc import Iterable

NOT_IMPORTED = re.compile(
    r"(?:could not import '[\w.]+'|not installed): No module named '([\w.]+)'"
)


def plain(reason: str) -> str:
    """The reason without pytest's prefix, and without what differs from test to test."""
    reason = reason.removeprefix("Skipped: ")
    if match := NOT_IMPORTED.fullmatch(reason):
        return f"{match[1]} is not installed"
    return reason


def summary(reasons: Iterable[str]) -> str:
    """The reasons, each with how many tests it skipped, the most frequent first. Empty for none."""
    counts = Counter(map(plain, reasons))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{count} {reason}" for reason, count in ordered]
    return f"skipped: {'; '.join(parts)}" if parts else ""
