"""Which texts are trained on together: groups of one length, prompts in front, some groups a step."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gemwire_server.checkpoints.synthetic.configs import DOCUMENT, SEARCH
from gemwire_training.vocabulary import ALL_PROMPTS, BOS, EOS, Tokenized

# How often a prompt stands in front of a text of a kind; the rest is spread over the others.
SHARES = {
    "short": {SEARCH: 0.6, DOCUMENT: 0.1, "": 0.1},
    "body": {SEARCH: 0.1, DOCUMENT: 0.5, "": 0.1},
}
# Texts that follow each other in their source stay together: of one subject, they are alike.
RUN = 4


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of the corpus of one length in tokens; `prompts` index ALL_PROMPTS, -1: long."""

    length: int
    rows: NDArray[np.int64]
    prompts: NDArray[np.int64]


class Batches:
    """The corpus, epoch after epoch. The same seed gives the same groups, whatever was read before."""

    def __init__(self, tokens: Tokenized, group_tokens: int, groups: int, seed: int) -> None:
        """`groups` groups of up to `group_tokens` tokens make a step."""
        self._tokens, self._group_tokens, self._groups, self._seed = (
            tokens, group_tokens, groups, seed,
        )  # fmt: skip

    def epoch(self, number: int) -> list[list[Group]]:
        """The steps of an epoch, each a list of groups."""
        rng = np.random.default_rng([self._seed, number])
        chosen = self._choose_prompts(rng)
        sizes = np.array([len(self._tokens.prompts[prompt]) for prompt in ALL_PROMPTS])
        lengths = _rounded(self._tokens.texts.lengths + sizes[chosen] + 2)
        groups = list(self._group(lengths, chosen, rng))
        long = _rounded(self._tokens.long.lengths + 2, 64)
        groups += self._group(long, np.full(len(long), -1), rng)
        order = rng.permutation(len(groups))
        return [
            [groups[i] for i in order[start : start + self._groups]]
            for start in range(0, len(order), self._groups)
        ]

    def ids(self, group: Group) -> Tensor:
        """Token ids, int64 [texts, length]; a text longer than its group's length loses its end."""
        out = np.empty((len(group.rows), group.length), np.int64)
        for line, row, prompt in zip(out, group.rows, group.prompts, strict=True):
            if prompt < 0:
                head, body = self._tokens.prompts[DOCUMENT], self._tokens.long[row]
            else:
                head, body = self._tokens.prompts[ALL_PROMPTS[prompt]], self._tokens.texts[row]
            line[0], line[-1] = BOS, EOS
            line[1 : 1 + len(head)] = head
            line[1 + len(head) : -1] = body[: group.length - 2 - len(head)]
        return torch.from_numpy(out)

    def words(self, group: Group) -> Tensor:
        """Which of the texts' words each token is a part of, or -1; int64 [texts, length]."""
        out = np.full((len(group.rows), group.length), -1, np.int64)
        bounds = self._tokens.texts.bounds
        for line, row, prompt in zip(out, group.rows, group.prompts, strict=True):
            if prompt >= 0:
                first = 1 + len(self._tokens.prompts[ALL_PROMPTS[prompt]])
                words = self._tokens.words[bounds[row] : bounds[row + 1]]
                line[first:-1] = words[: group.length - 1 - first]
        return torch.from_numpy(out)

    def _choose_prompts(self, rng: np.random.Generator) -> NDArray[np.int64]:
        kinds = self._tokens.kinds
        chosen = np.zeros(len(kinds), np.int64)  # a titled text has its prompt already
        for kind, shares in SHARES.items():
            rest = (1 - sum(shares.values())) / (len(ALL_PROMPTS) - len(shares))
            weights = [shares.get(prompt, rest) for prompt in ALL_PROMPTS]
            of_kind = np.flatnonzero(kinds == kind)
            chosen[of_kind] = rng.choice(len(ALL_PROMPTS), len(of_kind), p=weights)
        return chosen

    def _group(
        self, lengths: NDArray[np.int64], prompts: NDArray[np.int64], rng: np.random.Generator
    ) -> Iterator[Group]:
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            runs = [rows[start : start + RUN] for start in range(0, len(rows), RUN)]
            rows = np.concatenate([runs[i] for i in rng.permutation(len(runs))])
            size = max(1, self._group_tokens // int(length))
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                yield Group(int(length), part, prompts[part])


def _rounded(lengths: NDArray[np.int64], coarse: int = 16) -> NDArray[np.int64]:
    """Down to fewer lengths, the coarser the longer: a text loses some of its last tokens."""
    lengths = np.where(lengths > 48, lengths // 4 * 4, lengths)
    return np.where(lengths > 128, lengths // coarse * coarse, lengths)
