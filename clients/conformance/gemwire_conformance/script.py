"""One run of a case at the scripted server: its script, how far it came, and what was not in it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from google.protobuf.message import Message

from gemwire_conformance.cases import Case
from gemwire_conformance.messages import same

# Longer than anything in a script takes: only a client that does nothing more waits for it.
PATIENCE_SECONDS = 10.0
# A client may know the end of a call this much earlier than the server notes it.
CLOCK_SECONDS = 0.02


class NotInScript(Exception):
    """What the client did and the script did not have."""


class Step:
    """One step of a script; `times` is how many calls of it are still to come."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.method: str = said["method"]
        self.times: int | Literal["any"] = said.get("times", 1)
        self.any_order = bool(said.get("any_order"))

    def takes(self, method: str, request: Message | None) -> bool:
        """Whether this is the step of such a call."""
        if method != self.method:
            return False
        return request is None or "request" not in self.said or same(request, self.said["request"])


class Run:
    """A run of a case. `faults` are what the client did and the script does not have."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.faults: list[str] = []
        self._steps = [Step(said) for said in case.get("script", [])]  # those still to come
        self._under_way = 0
        self._last_end = time.monotonic()
        self._changed = asyncio.Event()

    def take(self, method: str, request: Message | None = None) -> Step:
        """The step of a new call. Raises NotInScript if there is none."""
        while self._steps and self._steps[0].times == "any" and self._steps[0].method != method:
            del self._steps[0]
        if not self._steps:
            raise NotInScript(f"one more call, {method}")
        step = next((s for s in self._candidates() if s.takes(method, request)), None)
        if step is None:
            raise NotInScript(f"not what is due, {self._steps[0].said}: {method} {request}")
        waited = time.monotonic() - self._last_end
        if waited < step.said.get("after", 0) - CLOCK_SECONDS:
            raise NotInScript(f"{method} {waited:.3f} s after the last call: {step.said}")
        if step.times != "any":
            step.times -= 1
        if step.times == 0:
            self._steps.remove(step)
        return step

    def _candidates(self) -> Iterator[Step]:
        """The step that is due, and those that may come before it."""
        yield self._steps[0]
        for before, step in itertools.pairwise(self._steps):
            if not (before.any_order and step.any_order):
                return
            yield step

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call under way; keeps what was not in the script."""
        self._under_way += 1
        try:
            yield
        except NotInScript as fault:
            self.faults.append(str(fault))
            raise
        finally:
            self._under_way -= 1
            self._last_end = time.monotonic()
            self._changed.set()

    async def verdict(self) -> list[str]:
        """The faults, once the script has ended and no call is under way, or after some seconds."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not self.faults and (self._due() or self._under_way):
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), until - time.monotonic())
            except TimeoutError:
                due = [step.method for step in self._due()]
                return [f"calls that did not come: {due}; under way: {self._under_way}"]
        return self.faults

    def _due(self) -> list[Step]:
        return [step for step in self._steps if step.times != "any"]
