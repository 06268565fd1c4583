"""Runs contenders on workloads and records the results."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from environment import environment
from gemwire_server.checkpoints import Checkpoint
from gemwire_server.runners.cpu import CpuRunner
from goals import GOALS, evaluate
from measure import progress, seconds, turns
from peers import NAMES, OURS, OURS_INT8, REFERENCE, make
from peers.contender import Contender, NotRun
from peers.products import NAME as PRODUCTS
from peers.products import Products
from trial import Entry, enter
from uninstalled import ROOT
from workloads import Workload, workloads

EVERYONE = (*NAMES, PRODUCTS)
SERVED = CpuRunner.batch_tokens


class Contest:
    """A run of contenders on one checkpoint, in turns."""

    def __init__(self, checkpoint: Checkpoint, seed: int, names: list[str] | None = None) -> None:
        """Takes the workloads named, or all."""
        self.checkpoint = checkpoint
        self.seed = seed
        tokenizer = checkpoint.load_tokenizer()
        self.workloads = [
            workload
            for workload in workloads(tokenizer, seed)
            if names is None or workload.name in names
        ]
        self.ids = {
            workload.name: [tokenizer.encode(text).ids for text in workload.texts]
            for workload in self.workloads
        }
        self.contenders: dict[str, Contender] = {}
        self.entries: list[Entry] = []
        self.distances: dict[str, NDArray[np.float64]] = {}
        self.not_run: dict[str, str] = {}

    def prepare(self, names: list[str]) -> None:
        """Loads and checks contenders, and finds their batch sizes."""
        folder = ROOT / ".cache" / "peers" / self.checkpoint.revision()
        progress(f"{REFERENCE}: the vectors to compare with")
        reference = make(REFERENCE, self.checkpoint, folder)
        truth = {workload.name: reference.embed(workload.texts, 1) for workload in self.workloads}
        for name in names:
            progress(f"{name}: loading, checking, trying sizes")
            try:
                if name == PRODUCTS:
                    self._add_products(Products(self.checkpoint))
                elif name == REFERENCE:
                    self._add(reference, truth)
                else:
                    self._add(make(name, self.checkpoint, folder), truth)
            except Exception as error:
                if name == OURS:
                    raise
                self.not_run[name] = reason(error)

    def _add(self, contender: Contender, truth: dict[str, NDArray[np.float32]]) -> None:
        served = SERVED if contender.name in (OURS, OURS_INT8) else None
        tried = [
            enter(contender, workload, self.ids[workload.name], truth[workload.name], served)
            for workload in self.workloads
        ]
        self.contenders[contender.name] = contender
        self.entries += [entry for entry, _ in tried]
        self.distances[contender.name] = np.concatenate([distances for _, distances in tried])

    def _add_products(self, products: Products) -> None:
        for workload in self.workloads:
            run = products.prepare(self.ids[workload.name], SERVED)
            run()
            self.entries.append(
                Entry(contender=PRODUCTS, workload=workload, run=run, size=SERVED, counts="tokens")
            )

    def measure(self, rounds: int) -> None:
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            for workload in self.workloads:
                for entry in turns(self._of(workload), number):
                    entry.figures.append(workload.value(seconds(entry.run, workload.repeats)))

    def _of(self, workload: Workload) -> list[Entry]:
        return [entry for entry in self.entries if entry.workload is workload]

    def result(self) -> dict[str, Any]:
        """Returns the results in JSON's types."""
        figures = {
            workload.name: {entry.contender: entry.figures for entry in self._of(workload)}
            for workload in self.workloads
        }
        precisions = {name: contender.precision for name, contender in self.contenders.items()}
        errors = {name: float(values.mean()) for name, values in self.distances.items()}
        return {
            "benchmark": "baselines",
            "model": self.checkpoint.name,
            "seed": self.seed,
            "workloads": {
                workload.name: {
                    "title": workload.title,
                    "tokens": workload.tokens,
                    "unit": workload.unit,
                    "contenders": {
                        entry.contender: entry.as_json() for entry in self._of(workload)
                    },
                }
                for workload in self.workloads
            },
            "contenders": {
                name: {
                    "precision": contender.precision,
                    "mean_error": errors[name],
                    "max_error": float(self.distances[name].max()),
                    "build": getattr(contender, "build", ""),
                }
                for name, contender in self.contenders.items()
            },
            "goals": [
                verdict.as_json() for verdict in evaluate(GOALS, figures, precisions, errors)
            ],
            "not_run": self.not_run,
            "environment": environment(),
        }


def reason(error: Exception) -> str:
    """Returns in one line why a contender is not run."""
    text = (str(error).strip() or "no reason given").splitlines()[0]
    return text if isinstance(error, NotRun) else f"{type(error).__name__}: {text}"
