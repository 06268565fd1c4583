"""The student's vocabulary, and the corpus in its tokens."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from gemwire_server.checkpoints.synthetic.configs import PROMPTS
from gemwire_server.checkpoints.synthetic.tokenizer import train_pieces
from gemwire_server.text.prompts import TASKS
from gemwire_training.corpus import Corpus, Text
from gemwire_training.student import GEOMETRY, MAX_TOKENS
from gemwire_training.teacher import word_bounds

# Lines that the pieces are counted in.
SAMPLE_LINES = 250_000
BOS, EOS = 2, 1
# None, and every prompt that a task or the checkpoint's table puts in front.
ALL_PROMPTS = tuple(dict.fromkeys(["", *PROMPTS.values(), *(card for _, card in TASKS.values())]))


def train_vocabulary(corpus: Corpus, seed: int, path: Path) -> None:
    """Trains the SentencePiece model on a sample of the corpus, prompts included."""
    rng = random.Random(f"{seed} vocabulary")
    sample = rng.sample(corpus.texts, min(SAMPLE_LINES, len(corpus.texts)))
    lines = [
        f"{rng.choice(ALL_PROMPTS) if i % 10 == 0 else ''}{read(text)}"
        for i, text in enumerate(sample)
    ]
    path.write_bytes(train_pieces(iter(lines), GEOMETRY.vocab_size))


def read(text: Text) -> str:
    """What the student reads, without a prompt; a titled text brings its own."""
    return f"title: {text.title} | text: {text.body}" if text.title else text.body


@dataclass(frozen=True, slots=True)
class Tokens:
    """Texts end to end: `ids` uint16 [tokens], `bounds` int64 [texts + 1]; without bos and eos."""

    ids: NDArray[np.uint16]
    bounds: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.bounds)

    def __getitem__(self, i: int) -> NDArray[np.uint16]:
        return self.ids[self.bounds[i] : self.bounds[i + 1]]


@dataclass(frozen=True, slots=True)
class Tokenized:
    """The corpus in tokens: its texts, the long ones, and the prompts by their text.

    Every text but a titled one is tokenized as it stands after a prompt, with a space in front.
    `words`: of each of the texts' tokens, which of all their words it is a part of, or -1; int32 [tokens].
    """

    texts: Tokens
    words: NDArray[np.int32]
    long: Tokens
    prompts: dict[str, NDArray[np.uint16]]
    kinds: NDArray[np.str_]

    @staticmethod
    def of(corpus: Corpus, model: Path) -> "Tokenized":
        processor = sentencepiece.SentencePieceProcessor(model_file=str(model))

        def encode(texts: Sequence[str]) -> Tokens:
            parts = [
                np.array(ids[: MAX_TOKENS - 32], np.uint16) for ids in processor.encode(list(texts))
            ]
            bounds = np.cumsum([0, *map(len, parts)])
            return Tokens(np.concatenate([np.empty(0, np.uint16), *parts]), bounds)

        texts = encode([read(t) if t.title else " " + read(t) for t in corpus.texts])
        return Tokenized(
            texts=texts,
            words=_words(corpus, texts, processor),
            long=encode(
                [" " + " ".join(corpus.texts[i].body for i in part) for part in corpus.parts()]
            ),
            prompts={
                prompt: np.array(processor.encode(prompt.rstrip()), np.uint16)
                for prompt in ALL_PROMPTS
            },
            kinds=np.array(["titled" if t.title else t.kind for t in corpus.texts]),
        )

    def counts(self) -> NDArray[np.int64]:
        """How often each piece is trained on, each prompt in front of as many texts, int64 [pieces]."""
        shown = np.bincount(self.texts.ids, minlength=GEOMETRY.vocab_size)
        for ids in self.prompts.values():
            np.add.at(shown, ids, len(self.texts.lengths) // len(self.prompts))
        return shown


def _words(
    corpus: Corpus, texts: Tokens, processor: sentencepiece.SentencePieceProcessor
) -> NDArray[np.int32]:
    begins = np.array([processor.id_to_piece(i).startswith("▁") for i in range(len(processor))])
    bounds = word_bounds([text.plain for text in corpus.texts])
    begun = np.cumsum(begins[texts.ids])
    before = np.concatenate([[0], begun])[texts.bounds]
    # The teacher reads a titled text otherwise; and what has other spaces than these is rare.
    alike = (np.diff(before) == np.diff(bounds)) & [not text.title for text in corpus.texts]
    shift = np.where(alike, bounds[:-1] - before[:-1], 0)
    words = begun - 1 + np.repeat(shift, texts.lengths)
    return np.where(np.repeat(alike, texts.lengths), words, -1).astype(np.int32)


def long_targets(corpus: Corpus, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the parts' vectors for each long text, of length one, fp32 [long, d]."""
    targets = np.empty((len(corpus.long), vectors.shape[1]), np.float32)
    for row, part in enumerate(corpus.parts()):
        mean = vectors[part].mean(0)
        targets[row] = mean / np.linalg.norm(mean)
    return targets


def piece_texts(model: Path) -> tuple[list[str], list[int]]:
    """Each piece as a text, and which of them stand for no text of their own."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    count = len(processor)
    texts = [processor.id_to_piece(i).replace("▁", " ").strip() for i in range(count)]
    special = [
        i for i, text in enumerate(texts)
        if not text or processor.is_control(i) or processor.is_byte(i) or processor.is_unknown(i)
    ]  # fmt: skip
    return texts, special
