"""What ended an engine is computed alone, then never again, and not remembered for ever."""

import numpy as np

from gemwire_server.processes import quarantine
from gemwire_server.processes.quarantine import CONVICT_SECONDS, SUSPECT_SECONDS, Quarantine, digest


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_suspected_then_cleared_or_convicted() -> None:
    held = Quarantine(Clock())
    assert not held
    held.add(["a", "b"], convicted=False)
    assert held and held.is_suspected("a") and not held.is_convicted("a")
    held.clear("a")
    held.add(["b"], convicted=True)
    assert not held.is_suspected("a") and held.is_convicted("b")
    held.add(["b"], convicted=False)
    assert held.is_convicted("b")


def test_neither_is_for_ever() -> None:
    clock = Clock()
    held = Quarantine(clock)
    held.add(["a"], convicted=False)
    held.add(["b"], convicted=True)
    clock.now += SUSPECT_SECONDS
    assert not held.is_suspected("a") and held.is_convicted("b")
    clock.now += CONVICT_SECONDS
    assert not held.is_convicted("b") and not held


def test_it_is_bounded() -> None:
    held = Quarantine(Clock())
    for number in range(quarantine.REMEMBERED + 10):
        held.add([str(number)], convicted=False)
    assert not held.is_suspected("9") and held.is_suspected("10")


def test_a_digest_tells_texts_apart_and_no_text() -> None:
    first, second = np.array([1, 2, 3], np.int32), np.array([1, 2, 4], np.int32)
    assert digest(first) == digest(first.copy()) != digest(second)
    assert len(digest(first)) == 32
