"""Shows progress to a person at a terminal, and nothing in a pipe."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

# A redraw for every row would cost more than the row, and a terminal cannot show it.
REDRAW_SECONDS = 0.1


class Bar(Protocol):
    def draw(self, position: int, text: str) -> None: ...


@dataclass(slots=True)
class Meter:
    """Counts texts and tokens, and draws them if there is a bar."""

    bar: Bar | None = None
    texts: int = 0
    tokens: int = 0
    started: float = field(default_factory=time.monotonic)
    _drawn: float = 0.0

    def add(self, position: int) -> None:
        """Counts one more text; the source has been read up to `position`."""
        self.texts += 1
        if self.bar is not None and time.monotonic() - self._drawn >= REDRAW_SECONDS:
            self._drawn = time.monotonic()
            self.bar.draw(position, self.rates())

    def count_tokens(self, tokens: int) -> None:
        """Counts computed tokens."""
        self.tokens += tokens

    def rates(self) -> str:
        seconds = max(time.monotonic() - self.started, 1e-9)
        return f"{self.texts:,} texts, {self.tokens / seconds:,.0f} tokens/s"

    def summary(self) -> str:
        return f"{self.rates()} in {time.monotonic() - self.started:.1f} s"


@contextmanager
def metering(size: int | None) -> Iterator[Meter]:
    """A meter that draws on standard error where that is a terminal. `size` is the last position.

    If the block ends without an exception, a terminal gets a line of summary.
    """
    if not sys.stderr.isatty():
        yield Meter()
        return
    with bar(size) as drawn:
        meter = Meter(drawn)
        yield meter
    print(f"gemwire: {meter.summary()}", file=sys.stderr)


@contextmanager
def bar(size: int | None) -> Iterator[Bar | None]:
    """A bar on standard error, which is a terminal; None without the package rich."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError:
        print("gemwire: no progress without rich: pip install 'gemwire[cli]'", file=sys.stderr)
        yield None
        return
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    # The bar vanishes at the end, and the summary takes its place.
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=size)

        class RichBar:
            def draw(self, position: int, text: str) -> None:
                progress.update(task, completed=position, description=text)

        yield RichBar()
