"""Sums the metrics of several processes: each keeps its own in files of a folder that all share.

A process has a name, such as engine0, which its successor takes over: the counts go on, and restarts
leave no files behind. Work that a process had under way when it died is counted as lost.
"""

import os
from collections import defaultdict
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from gemwire_server.observe.metrics import LOST, METHOD, CallMetrics, EngineMetrics

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def keep_in_files(folder: str, name: str) -> None:
    """Keeps this process's metrics under its name (no underscores) in the folder, if there is one.

    Every process calls it before it makes its first metric, also the one that serves the page.
    """
    assert "_" not in name, "file names are taken apart at underscores"
    if not folder:
        return
    os.environ[FOLDER_VARIABLE] = folder
    values.ValueClass = values.MultiProcessValue(lambda: name)


class SharedMetrics:
    """The metrics of all processes, for their supervisor, which counts the work that died with one."""

    def __init__(self, folder: str) -> None:
        """The process has called `keep_in_files` with the same folder before."""
        self._folder = Path(folder)
        self.registry = CollectorRegistry()
        """For a `MetricsPage`; metrics are not to be registered with it."""
        MultiProcessCollector(self.registry, path=folder)
        own = CollectorRegistry()
        self._calls = CallMetrics(own)
        self._engine = EngineMetrics(own, max_batch_tokens=1)
        self._lost: dict[tuple[str, ...], float] = defaultdict(float)

    def process_died(self, name: str) -> None:
        """Counts what the process had under way, once it is gone and before another one takes its name."""
        mark_process_dead(name, path=str(self._folder))
        for method, missing in self._missing_calls(name).items():
            if (lost := missing - self._lost[name, *method]) > 0:
                self._lost[name, *method] = missing
                self._calls.ended.labels(*method, LOST).inc(lost)
        if (lost := self._missing_texts(name) - self._lost[(name,)]) > 0:
            self._lost[(name,)] += lost
            self._engine.dropped_texts.labels("lost").inc(lost)

    def _missing_calls(self, name: str) -> dict[tuple[str, ...], float]:
        """Calls by (api, method) that the process started and never ended."""
        missing: dict[tuple[str, ...], float] = defaultdict(float)
        for sample, labels, value in self._counts(name):
            method = tuple(labels.get(label, "") for label in METHOD)
            if sample == "gemwire_calls_started_total":
                missing[method] += value
            elif sample == "gemwire_calls_ended_total":
                missing[method] -= value
        return missing

    def _missing_texts(self, name: str) -> float:
        missing = 0.0
        for sample, _, value in self._counts(name):
            if sample == "gemwire_engine_texts_accepted_total":
                missing += value
            elif sample in (
                "gemwire_engine_texts_ended_total",
                "gemwire_engine_texts_dropped_total",
            ):
                missing -= value
        return missing

    def _counts(self, name: str) -> list[tuple[str, dict[str, str], float]]:
        path = self._folder / f"counter_{name}.db"
        if not path.exists():  # it died before it counted anything
            return []
        return [
            (sample.name, sample.labels, sample.value)
            for metric in MultiProcessCollector.merge([str(path)], accumulate=False)
            for sample in metric.samples
        ]
