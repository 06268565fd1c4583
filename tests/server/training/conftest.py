"""A vocabulary and a small corpus to train on, of the project's own sample text."""

import random

import numpy as np
import pytest

from gemwire_server.checkpoints.synthetic import tokenizer
from gemwire_training.corpus import Corpus, Text
from gemwire_training.vocabulary import Tokenized
from support.lesson import Lesson


@pytest.fixture(scope="session")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Lesson:
    words = tokenizer.SAMPLE.read_text("utf-8").split()
    rng = random.Random(0)
    lines = [" ".join(rng.choices(words, k=rng.randint(1, 60))).lower() for _ in range(400)]
    texts = [
        Text("body" if i % 3 else "short", line, "a title" if i % 30 == 4 else "")
        for i, line in enumerate(lines)
    ]
    corpus = Corpus(texts, [(1, 50), (101, 149)])
    vocabulary = tmp_path_factory.mktemp("lesson") / "tokenizer.model"
    vocabulary.write_bytes(tokenizer.train_pieces(iter(lines), 1024))
    vectors = np.random.default_rng(0).standard_normal((len(texts), 384), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    count = sum(len(text.plain.split()) for text in texts)
    spoken = np.random.default_rng(1).integers(-90, 90, (count, 384), np.int8)
    return Lesson(corpus, Tokenized.of(corpus, vocabulary), vocabulary, vectors, spoken)
