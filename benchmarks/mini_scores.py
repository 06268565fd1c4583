"""Scores gemwire-mini beside its teacher, on texts of sources that its training never saw.

Vectors of the student come from a `gemwire serve` process through the client, with the task prompts of
each kind of text; the teacher's from sentence-transformers. Beside them BM25, chance, and the bag of token
vectors that training begins with.

    python benchmarks/mini_scores.py [--model DIR] [--bag DIR] [--work DIR] [--output FILE]

Prints a table; the last line is JSON.
"""

import argparse
import json
import random
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import bm25s
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from environment import environment
from gemwire_client import Client
from gemwire_mini import CHECKPOINT
from gemwire_server.verify import overlap
from gemwire_training.corpus import clean
from gemwire_training.fetch import passages
from gemwire_training.readers import Passage
from gemwire_training.sources import HELD_OUT_DICTIONARIES, HELD_OUT_MANUALS, Source
from gemwire_training.teacher import NAME, Teacher
from server_process import server_process

CANDIDATES = 1500
NEIGHBOUR_TEXTS = 2000
PAIRS_A_BIN, BINS = 400, np.arange(0.0, 0.91, 0.1)
TOP = 10

Vectors = NDArray[np.float32]


class Retrieval(NamedTuple):
    """A retrieval whose query i is answered by candidate i alone."""

    name: str
    queries: list[str]
    candidates: list[str]


class Embedded(NamedTuple):
    """The vectors of a retrieval's queries and candidates, and of the neighbours' texts."""

    retrievals: list[tuple[Vectors, Vectors]]
    texts: Vectors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=CHECKPOINT)
    parser.add_argument(
        "--bag", type=Path, help="the checkpoint that stage one of the training left"
    )
    parser.add_argument("--work", type=Path, default=Path(".cache/gemwire-mini"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    folder = args.work / "packages"
    rng = random.Random(args.seed)
    glosses = reverse_dictionary(held_out(HELD_OUT_DICTIONARIES, folder), rng)
    manuals = held_out(HELD_OUT_MANUALS, folder)
    retrievals = [glosses, titles(manuals, rng)]
    texts = neighbours(manuals, glosses, rng)

    teacher = taught(retrievals, texts)
    rows = {
        "teacher": {
            str(teacher.texts.shape[1]): scores(teacher, teacher, [r.name for r in retrievals])
        }
    }
    rows["mini"] = served(args.model, retrievals, texts, teacher)
    if args.bag is not None:
        rows["bag of token vectors"] = served(args.bag, retrievals, texts, teacher)
    rows["BM25"] = {"": {name.name: lexical(name) for name in retrievals}}
    rows["chance"] = {"": {name.name: chance(len(name.candidates)) for name in retrievals}}
    print_table(rows, [retrieval.name for retrieval in retrievals])
    result = {
        "benchmark": "mini_scores",
        "teacher": NAME,
        "held_out": [s.package for s in (*HELD_OUT_DICTIONARIES, *HELD_OUT_MANUALS)],
        "candidates": {retrieval.name: len(retrieval.candidates) for retrieval in retrievals},
        "neighbour_texts": len(texts),
        "scores": rows,
        "environment": environment(),
    }
    line = json.dumps(result)
    if args.output:
        args.output.write_text(line + "\n")
    print(line)
    return 0


def held_out(sources: Iterable[Source], folder: Path) -> list[Passage]:
    return [passage for source in sources for passage in clean(passages(source, folder))]


def reverse_dictionary(entries: Sequence[Passage], rng: random.Random) -> Retrieval:
    """Makes the task to find a word by the first sentence of its definition, without the word."""
    found: dict[str, str] = {}
    for headword, definition in entries:
        sentence = re.split(r"(?<=[.!?;]) ", definition)[0]
        sentence = re.sub(re.escape(headword), "it", sentence, flags=re.I) if headword else ""
        if 6 <= len(sentence.split()) <= 40 and re.fullmatch(r"[A-Za-z][\w +'-]{2,40}", headword):
            found.setdefault(headword, sentence)
    chosen = rng.sample(sorted(found), min(CANDIDATES, len(found)))
    return Retrieval("gloss to headword", [found[word] for word in chosen], chosen)


def titles(entries: Sequence[Passage], rng: random.Random) -> Retrieval:
    """Makes the task to find a section's first passage by the section's title."""
    found: dict[str, str] = {}
    for title, text in entries:
        if len(title.split()) >= 2 and len(text.split()) >= 12 and text not in found.values():
            found.setdefault(title, text)
    chosen = rng.sample(sorted(found), min(CANDIDATES, len(found)))
    return Retrieval("title to passage", chosen, [found[title] for title in chosen])


def neighbours(manuals: Sequence[Passage], glosses: Retrieval, rng: random.Random) -> list[str]:
    texts = sorted({text for _, text in manuals} | set(glosses.queries))
    return rng.sample(texts, min(NEIGHBOUR_TEXTS, len(texts)))


def taught(retrievals: Sequence[Retrieval], texts: Sequence[str]) -> Embedded:
    teacher = Teacher()
    return Embedded(
        [(teacher.vectors(r.queries), teacher.vectors(r.candidates)) for r in retrievals],
        teacher.vectors(texts),
    )


def served(
    checkpoint: Path, retrievals: Sequence[Retrieval], texts: Sequence[str], teacher: Embedded
) -> dict[str, dict[str, float]]:
    """Returns the scores at each Matryoshka size, of vectors requested at that size."""
    with server_process(checkpoint) as server, Client(server.address, timeout=600) as client:
        sizes = client.model().supported_dimensions

        def embed(texts: Sequence[str], task: str, size: int) -> Vectors:
            return np.asarray(client.embed(texts, task=task, dimensions=size), np.float32)

        found = {}
        for size in sizes:
            pairs = [
                (
                    embed(retrieval.queries, "retrieval_query", size),
                    embed(retrieval.candidates, "retrieval_document", size),
                )
                for retrieval in retrievals
            ]
            embedded = Embedded(pairs, embed(texts, "semantic_similarity", size))
            names = [retrieval.name for retrieval in retrievals]
            found[str(size)] = scores(embedded, teacher, names)
        return found


def scores(found: Embedded, teacher: Embedded, names: Sequence[str]) -> dict[str, float]:
    """Returns nDCG@10 of each retrieval, and overlap and correlation with the teacher."""
    rows = {
        name: ndcg(queries @ candidates.T)
        for name, (queries, candidates) in zip(names, found.retrievals, strict=True)
    }
    mine, its = found.texts @ found.texts.T, teacher.texts @ teacher.texts.T
    return rows | {
        "top 10 overlap": overlap(found.texts, teacher.texts),
        "Spearman": correlation(mine, its),
    }


def ndcg(similarities: Vectors) -> float:
    """Returns the mean of 1 / log2(1 + rank) where the one right answer is in the first ten, else 0.

    With one answer the ideal is 1 (Järvelin, Kekäläinen 2002). Among equal candidates the right one
    comes last.
    """
    right = np.diag(similarities)[:, None]
    ranks = (similarities >= right).sum(1)
    return float(np.where(ranks <= TOP, 1 / np.log2(1 + ranks), 0).mean())


def correlation(mine: Vectors, its: Vectors) -> float:
    """Returns Spearman's correlation over pairs that spread evenly over the teacher's similarities."""
    rng = np.random.default_rng(0)
    first, second = np.triu_indices(len(its), 1)
    similar = its[first, second]
    chosen = []
    for low in BINS:
        inside = np.flatnonzero((similar >= low) & (similar < low + 0.1))
        chosen.append(rng.choice(inside, min(PAIRS_A_BIN, len(inside)), replace=False))
    pairs = np.concatenate(chosen)
    return float(spearmanr(similar[pairs], mine[first[pairs], second[pairs]]).statistic)


def lexical(retrieval: Retrieval) -> float:
    index = bm25s.BM25()
    index.index(bm25s.tokenize(retrieval.candidates, show_progress=False), show_progress=False)
    queries = bm25s.tokenize(retrieval.queries, return_ids=False, show_progress=False)
    return ndcg(np.stack([index.get_scores(query) for query in queries]))


def chance(candidates: int) -> float:
    """Returns the expected ndcg() of a random order."""
    return float(sum(1 / np.log2(1 + rank) for rank in range(1, TOP + 1)) / candidates)


def print_table(rows: dict[str, dict[str, dict[str, float]]], names: Sequence[str]) -> None:
    columns = [*names, "top 10 overlap", "Spearman"]
    print(f"{'':26}" + "".join(f"{column:>20}" for column in columns))
    best = next(iter(rows["teacher"].values()))
    for system, sizes in rows.items():
        for size, values in sizes.items():
            cells = []
            for column in columns:
                value = values.get(column)
                share = f" ({value / best[column]:4.0%})" if value and column in names else ""
                cells.append(f"{'' if value is None else f'{value:.3f}{share}':>20}")
            print(f"{f'{system} {size}':26}" + "".join(cells))


if __name__ == "__main__":
    sys.exit(main())
