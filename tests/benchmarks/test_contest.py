"""A whole run on the tiny checkpoint, and its statistics on numbers made up."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import contest
from baselines import chosen
from contest import Contest
from gemwire_server.checkpoints import open_checkpoint
from goals import Goal, Verdict, evaluate
from measure import median_ratio, turns
from peers import NAMES, OURS, REFERENCE
from peers.contender import NotRun, Precision, Vectors
from peers.products import NAME as PRODUCTS
from report import print_report
from trial import different, enter
from workloads import Workload


class Scripted:
    """A contender with given vectors."""

    name = "scripted/float32"
    precision: Precision = "float32"
    counts: Any = "tokens"
    sizes: tuple[int, ...] = (4, 8, 16)

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors

    def embed(self, texts: Any, size: int) -> Vectors:
        return self.vectors[: len(texts)]


SEQUENCES = [np.ones(8, np.int32)] * 2
WORKLOAD = Workload(name="mixed", title="two texts", texts=["a", "b"], tokens=16)


def test_a_run_names_the_contenders_left_out_and_why(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "peers.llama_cpp", None)
    run = Contest(open_checkpoint(str(tiny_checkpoint)), seed=0, names=["query"])
    run.prepare([OURS, "sentence-transformers/float32", "llama.cpp/bfloat16"])
    run.measure(2)
    result = json.loads(json.dumps(run.result()))
    print_report(result)
    entries = result["workloads"]["query"]["contenders"]
    assert set(entries) == {OURS, "sentence-transformers/float32"}
    assert all(len(entry["rounds"]) == 2 for entry in entries.values())
    assert result["not_run"]["llama.cpp/bfloat16"].startswith("not installed")
    assert "not run: llama.cpp/bfloat16: not installed" in capsys.readouterr().out


def test_failure_of_a_peer_is_its_reason_and_of_the_engine_an_error(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(name: str, checkpoint: Any, folder: Path) -> Any:
        if name == REFERENCE:
            return Scripted(np.ones((1, 4), np.float32))
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(contest, "make", make)
    run = Contest(open_checkpoint(str(tiny_checkpoint)), seed=0, names=["query"])
    run.prepare(["onnxruntime/int8"])
    assert run.not_run == {"onnxruntime/int8": "RuntimeError: first line"}
    with pytest.raises(RuntimeError):
        run.prepare([OURS])


def test_other_vectors_are_not_timed() -> None:
    truth = np.eye(2, 4, dtype=np.float32)
    for wrong in (truth[::-1], truth + 0.1, np.full_like(truth, np.nan)):
        with pytest.raises(NotRun, match="other vectors"):
            enter(Scripted(wrong), WORKLOAD, SEQUENCES, truth, None)
    entry, distances = enter(Scripted(2 * truth), WORKLOAD, SEQUENCES, truth, None)
    assert distances.max() < 1e-12
    assert set(entry.tried) == {4, 16}
    assert enter(Scripted(truth), WORKLOAD, SEQUENCES, truth, 8)[0].size == 8


def test_of_sizes_that_make_the_same_steps_one_is_tried() -> None:
    scripted = Scripted(np.eye(2, dtype=np.float32))
    assert different(scripted, SEQUENCES) == [4, 16]
    assert different(scripted, SEQUENCES, served=8) == [8, 16]


def test_turns_rotate() -> None:
    assert [list(turns("abc", i)) for i in range(4)] == [
        ["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"],
    ]  # fmt: skip


def test_ratio_is_of_each_round() -> None:
    assert median_ratio([1, 20, 3], [1, 10, 1]) == 2


def test_contenders_are_chosen_by_library_or_name() -> None:
    assert chosen(None) == [*NAMES, PRODUCTS]
    assert chosen(["onnxruntime/int8", "gemwire"]) == [OURS, "gemwire/int8", "onnxruntime/int8"]
    with pytest.raises(SystemExit, match="no contender onnx;"):
        chosen(["onnx"])


PRECISIONS: dict[str, Precision] = {
    "gemwire/bfloat16": "bfloat16",
    "a/float32": "float32",
    "b/bfloat16": "bfloat16",
    "c/int8": "int8",
    "gemwire/int8": "int8",
}
ROUNDS = {
    "mixed": {
        "gemwire/bfloat16": [20.0, 20.0],
        "a/float32": [5.0, 5.0],
        "b/bfloat16": [10.0, 10.0],
        "c/int8": [40.0, 40.0],
        "gemwire/int8": [60.0, 60.0],
        "ceiling": [99.0, 99.0],
    }
}


def verdict(goal: Goal, errors: dict[str, float] | None = None) -> Verdict:
    (found,) = evaluate([goal], ROUNDS, PRECISIONS, errors or {})
    return found


def test_best_baseline_is_of_the_same_or_a_higher_precision_and_not_ours() -> None:
    ours = "gemwire/bfloat16"
    assert verdict(Goal(workload="mixed", ours=ours, theirs=None, bound=2)).theirs == "b/bfloat16"
    less = verdict(Goal(workload="mixed", ours=ours, theirs=None, bound=2, less=True))
    assert (less.theirs, less.ratio, less.met) == ("a/float32", 4, False)
    int8 = verdict(Goal(workload="mixed", ours="gemwire/int8", theirs=None, bound=1.25))
    assert (int8.theirs, int8.ratio, int8.met) == ("c/int8", 1.5, True)


def test_goal_without_figures_is_neither_met_nor_missed() -> None:
    for goal in (
        Goal(workload="mixed", ours="gemwire/bfloat16", theirs="d/float32", bound=2),
        Goal(workload="query", ours="gemwire/bfloat16", theirs=None, bound=2),
    ):
        assert (verdict(goal).ratio, verdict(goal).met) == (None, None)


def test_speed_at_the_cost_of_more_error_does_not_count() -> None:
    goal = Goal(
        workload="mixed", ours="gemwire/int8", theirs="c/int8", bound=1.25, no_more_error=True
    )
    assert verdict(goal, {"gemwire/int8": 1e-3, "c/int8": 1e-3}).met is True
    assert verdict(goal, {"gemwire/int8": 2e-3, "c/int8": 1e-3}).met is False
