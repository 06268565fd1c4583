"""A server's metrics page, and whether its counts balance."""

import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Page:
    """One reading of /metrics."""

    samples: list[tuple[str, Labels, float]]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name with at least these labels; 0 if there is none."""
        return sum(
            value
            for sample, own, value in self.samples
            if sample == name and labels.items() <= own.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        """The values of a label that have counted something."""
        return {own[label] for sample, own, value in self.samples if sample == name and value}

    def imbalance(self) -> dict[str, float]:
        """Counts that do not balance. An idle server has none, whatever happened before."""
        calls = (
            self.total("gemwire_calls_started_total")
            - self.total("gemwire_calls_ended_total")
            - self.total("gemwire_calls_in_flight")
        )
        texts = (
            self.total("gemwire_engine_texts_accepted_total")
            - self.total("gemwire_engine_texts_ended_total")
            - self.total("gemwire_engine_texts_dropped_total")
            - self.total("gemwire_engine_texts")
        )
        return {name: off for name, off in (("calls", calls), ("texts", texts)) if off}


def get(address: str, path: str) -> str:
    """A page's body. Raises urllib.error.HTTPError."""
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as response:
        body: bytes = response.read()
    return body.decode()


def scrape(address: str) -> Page:
    families = text_string_to_metric_families(get(address, "/metrics"))
    return Page([(s.name, s.labels, s.value) for family in families for s in family.samples])


def scrape_until(address: str, settled: Callable[[Page], bool]) -> Page:
    """The first page for which it holds: calls that are cancelled or expired end a moment later."""
    deadline = time.monotonic() + 30
    while not settled(page := scrape(address)):
        assert time.monotonic() < deadline, page.samples
        time.sleep(0.02)
    return page


def at_rest(page: Page) -> bool:
    """Whether nothing is under way."""
    return not (page.total("gemwire_calls_in_flight") or page.total("gemwire_engine_texts"))
