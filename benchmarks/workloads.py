"""Makes the workloads: seeded texts of known lengths, cut from the package's sample text."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gemwire_server.text.tokenizer import Tokenizer
from gemwire_server.verify import CARD_QUERY, sample_source, text_of

QUERY_PROMPT = "task: search result | query: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A workload. A round times it `repeats` times and takes the median."""

    name: str
    title: str
    texts: list[str]
    tokens: int
    repeats: int = 1
    unit: Literal["tokens/s", "ms"] = "tokens/s"

    def value(self, seconds: float) -> float:
        """Returns the figure in `unit`."""
        return seconds * 1e3 if self.unit == "ms" else self.tokens / seconds


def workloads(tokenizer: Tokenizer, seed: int) -> list[Workload]:
    source = sample_source(tokenizer)

    def cut(start: int, length: int) -> str:
        return text_of(tokenizer, "", source[start:], length)

    def tokens(*texts: str) -> int:
        return sum(len(tokenizer.encode(text).ids) for text in texts)

    mixed = mixed_texts(tokenizer, 48, seed)
    query = text_of(tokenizer, QUERY_PROMPT, CARD_QUERY, 17)
    middle = [cut(start, 512) for start in (0, 1000)]
    long = cut(0, 2048)
    return [
        Workload(
            name="mixed",
            title=f"{len(mixed)} texts of mixed lengths",
            texts=mixed,
            tokens=tokens(*mixed),
        ),
        Workload(
            name="query",
            title=f"one query of {tokens(query)} tokens",
            texts=[query],
            tokens=tokens(query),
            repeats=9,
            unit="ms",
        ),
        Workload(
            name="512",
            title=f"{len(middle)} texts of 512 tokens",
            texts=middle,
            tokens=tokens(*middle),
        ),
        Workload(name="2048", title="one text of 2,048 tokens", texts=[long], tokens=tokens(long)),
    ]


def mixed_texts(tokenizer: Tokenizer, count: int, seed: int) -> list[str]:
    """Makes texts of lognormal lengths: median 40 tokens, sigma 0.9, 8 to 600."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.lognormal(np.log(40), 0.9, count), 8, 600).astype(int)
    source = sample_source(tokenizer)
    starts = random.integers(0, len(source) // 8, count)
    return [
        text_of(tokenizer, "", source[start:], int(length))
        for start, length in zip(starts, lengths, strict=True)
    ]
