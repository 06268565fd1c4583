"""What an answer cost, as TEI reports it: in the message, and in headers."""

from collections.abc import Sequence
from dataclasses import dataclass

from gemwire_server.service.results import Timing

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Metadata:
    """Characters of the texts without their prompts and before they were cut; tokens that were computed,
    those of prompts and special tokens too; and times in nanoseconds."""

    characters: int
    tokens: int
    total_ns: int
    tokenization_ns: int
    queue_ns: int
    inference_ns: int

    @classmethod
    def of(cls, characters: int, token_counts: Sequence[int], timing: Timing) -> "Metadata":
        """The cost of texts with so many tokens each. The time of tokenizing is the average of a text."""
        return cls(
            characters=characters,
            tokens=sum(token_counts),
            total_ns=round(timing.total_seconds * SECOND_NS),
            tokenization_ns=round(timing.tokenize_seconds * SECOND_NS / max(1, len(token_counts))),
            queue_ns=round(timing.queue_seconds * SECOND_NS),
            inference_ns=round(timing.compute_seconds * SECOND_NS),
        )

    def headers(self) -> dict[str, str]:
        """The headers of an answer; times are in whole milliseconds."""
        total = str(self.total_ns // MILLISECOND_NS)
        return {
            "x-compute-type": "gpu+optimized",  # what TEI says on a CPU too
            "x-compute-time": total,
            "x-compute-characters": str(self.characters),
            "x-compute-tokens": str(self.tokens),
            "x-total-time": total,
            "x-tokenization-time": str(self.tokenization_ns // MILLISECOND_NS),
            "x-queue-time": str(self.queue_ns // MILLISECOND_NS),
            "x-inference-time": str(self.inference_ns // MILLISECOND_NS),
        }
