"""The server's own books: its metrics, and whether they balance."""

import urllib.request
from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families


class Metrics:
    """The samples of one reading."""

    def __init__(self, page: str) -> None:
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                self._samples[sample.name].append((sample.labels, sample.value))

    def sum(self, name: str, **labels: str) -> float:
        """The sum of the samples that have this name and these labels."""
        return sum(value for held, value in self._samples[name] if labels.items() <= held.items())

    def imbalances(self) -> list[str]:
        """Counts that do not balance. An idle server has none."""
        started = self.sum("gemwire_calls_started_total")
        ended = self.sum("gemwire_calls_ended_total")
        accepted = self.sum("gemwire_engine_texts_accepted_total")
        computed = self.sum("gemwire_engine_texts_ended_total")
        dropped = self.sum("gemwire_engine_texts_dropped_total")
        found = []
        if started != ended:
            found.append(f"{started:g} calls started, {ended:g} ended")
        if accepted != computed + dropped:
            found.append(f"{accepted:g} texts accepted, {computed:g} computed, {dropped:g} dropped")
        for name in ("gemwire_calls_in_flight", "gemwire_engine_texts", "gemwire_queue_tokens"):
            if value := self.sum(name):
                found.append(f"{name} is {value:g}")
        return found


def read_metrics(url: str) -> Metrics:
    with urllib.request.urlopen(url, timeout=10) as page:
        return Metrics(page.read().decode())
