"""Real text of a given length, in tokens of the server's own tokenizer.

The source is a long row of pieces: words of the vocabulary in random order, or a corpus. A text of n tokens
is n neighbours of that row. Joining can merge a few tokens, so reports take the server's token counts.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gemwire.v1 import embedding_pb2 as pb

Tokenize = Callable[[pb.TokenizeRequest], pb.TokenizeResponse]

SPACE = "\u2581"  # stands for a space in pieces
WORD = re.compile(SPACE + r"[a-z]{2,}")
SPECIAL = re.compile(r"<[^<>]+>|\[[^\[\]]+\]")
WORDS = 4096
IDS_PER_CALL = 1024
CORPUS_BYTES = 4 << 20
LINE_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Source:
    """The pieces that texts are made of."""

    pieces: tuple[str, ...]

    def text(self, tokens: int, place: int) -> str:
        """A text of about `tokens` tokens, from `place` modulo the source's length."""
        count = len(self.pieces)
        start = place % count
        row = self.pieces[start : start + tokens]
        while len(row) < tokens:
            row += self.pieces[: tokens - len(row)]
        # A text of nothing but a space would be refused as empty.
        return "".join(row).replace(SPACE, " ").strip() or "the"


def vocabulary(tokenize: Tokenize, size: int, window: int, seed: int) -> Source:
    """Words of a vocabulary of `size` ids in random order. Raises ValueError if it has no words."""
    rng = np.random.default_rng(seed)
    words: list[str] = []
    step = min(IDS_PER_CALL, window // 2)
    for start in range(0, min(size, 64 * WORDS), step):
        ids = rng.integers(0, size, step)
        pieces = _pieces(tokenize, pb.EmbedInput(tokens=pb.TokenIds(ids=ids, complete=True)))
        words += [piece for piece in pieces if WORD.fullmatch(piece)]
        if len(words) >= WORDS or (start // step >= 16 and not words):
            break
    if not words:
        raise ValueError("the server's vocabulary shows no words: give a --corpus")
    return Source(tuple(words))


def corpus(tokenize: Tokenize, lines: Sequence[str]) -> Source:
    """The pieces of given lines, as the server cuts them. Raises ValueError if there are none."""
    pieces: list[str] = []
    size = 0
    for line in lines:
        size += len(line.encode())
        if size > CORPUS_BYTES:
            break
        for start in range(0, len(line.strip()), LINE_CHARACTERS):
            part = line.strip()[start : start + LINE_CHARACTERS]
            if not part.strip():
                continue
            found = _pieces(tokenize, pb.EmbedInput(text=part))
            found = [piece for piece in found if not SPECIAL.fullmatch(piece)]
            pieces += [SPACE + found[0].lstrip(SPACE), *found[1:]] if found else []
    if not pieces:
        raise ValueError("the corpus has no text")
    return Source(tuple(pieces))


def overhead(tokenize: Tokenize, task: pb.TaskType | None) -> int:
    """Tokens that prompt and special tokens of a task add to a text."""
    options = pb.EmbedOptions(task=task) if task is not None else pb.EmbedOptions(prompt_text="")
    answered = tokenize(pb.TokenizeRequest(input=pb.EmbedInput(text="the"), options=options))
    return len(answered.ids)


def _pieces(tokenize: Tokenize, message: pb.EmbedInput) -> list[str]:
    options = pb.EmbedOptions(prompt_text="")
    request = pb.TokenizeRequest(input=message, options=options, include_pieces=True)
    return list(tokenize(request).pieces)
