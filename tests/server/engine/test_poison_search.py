"""The search for the texts that make a step fail."""

from collections.abc import Callable

import pytest

from gemwire_server.engine.poison_search import PoisonSearch


class Device:
    """Steps fail that hold a poison, and those that `breaks` says by their number."""

    def __init__(
        self, poison: set[int], breaks: Callable[[int], bool] = lambda number: False
    ) -> None:
        self.poison = poison
        self.breaks = breaks
        self.steps = 0
        self.computed: list[int] = []

    def fails(self, step: list[int]) -> bool:
        failed = bool(self.poison & set(step)) or self.breaks(self.steps)
        self.steps += 1
        if not failed:
            self.computed += step
        return failed

    def search(self, texts: list[int]) -> list[int]:
        """The guilty, after the first step of all of them has failed."""
        assert self.fails(texts)
        search, guilty = PoisonSearch(texts), []
        while search.probe:
            assert set(search.probe) <= set(search.unresolved())
            if self.fails(list(search.probe)):
                search.failed()
            else:
                search.passed()
            guilty += search.take_guilty()
            assert self.steps < 2000, "it goes on for ever"
        assert search.unresolved() == []
        assert sorted(self.computed + guilty) == texts, "each is computed or guilty, and once"
        return guilty


@pytest.mark.parametrize("count", range(1, 71))
def test_one_poison_is_found_wherever_it_is(count: int) -> None:
    for culprit in range(count):
        device = Device({culprit})
        assert device.search(list(range(count))) == [culprit]
        extra = device.steps - 1
        assert extra <= (count - 1).bit_length() + 1  # 7 for 64


@pytest.mark.parametrize("poison", [{0, 1}, {0, 63}, {31, 32}, {5, 20, 41, 63}, set(range(64))])
def test_several_are_found_each(poison: set[int]) -> None:
    device = Device(poison)
    assert set(device.search(list(range(64)))) == poison
    assert device.steps - 1 <= 8 * len(poison)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 64])
def test_a_failure_that_passes_convicts_nobody(count: int) -> None:
    device = Device(set(), breaks=lambda number: number == 0)
    assert device.search(list(range(count))) == []
    assert device.steps - 1 <= (count - 1).bit_length() + 1


@pytest.mark.parametrize("gone", [[5], [0], [1, 2, 3], list(range(8))])
def test_who_is_forgotten_is_not_tried_and_the_others_are_served(gone: list[int]) -> None:
    """The culprit, 5, may be among them: then no text is guilty."""
    for after in range(6):
        device, search, guilty = Device({5}), PoisonSearch(list(range(8))), []
        forgotten: list[int] = []
        for step in range(100):
            if step == after:
                forgotten = [item for item in gone if item in search.unresolved()]
                search.forget(forgotten)
            if not search.probe:
                break
            assert not set(forgotten) & set(search.probe)
            if device.fails(list(search.probe)):
                search.failed()
            else:
                search.passed()
            guilty += search.take_guilty()
        assert search.unresolved() == [] and not search.probe
        assert guilty == ([] if 5 in forgotten else [5])
        assert sorted(device.computed + guilty + forgotten) == list(range(8))
