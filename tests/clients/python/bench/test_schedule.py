"""Schedules are what they are asked to be, and the same from the same seed."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from gemwire_bench import lengths, schedule
from gemwire_bench.mix import TrafficClass, parse_class
from gemwire_bench.schedule import NANOS, Schedule
from support.loading import md1, waits

RATE, SECONDS = 200.0, 100.0


def made(arrivals: str, *, seed: int = 0, rate: float = RATE, seconds: float = SECONDS) -> Schedule:
    one = TrafficClass(
        mode="batch", arrivals=arrivals, texts="uniform:1:4", tokens="lognormal:40:0.6"
    )
    return schedule.make([one], rate=rate, seconds=seconds, seed=seed)


ALL = ("poisson", "constant", "gamma:2", "bursts:1:3", "ramp:0.2:1.8")


@pytest.mark.parametrize("arrivals", ALL)
def test_the_same_seed_makes_the_same_bits(arrivals: str) -> None:
    one, same, other = made(arrivals), made(arrivals), made(arrivals, seed=1)
    for field in fields(Schedule):
        assert getattr(one, field.name).tobytes() == getattr(same, field.name).tobytes()
    assert one.digest() == same.digest() != other.digest()
    assert (np.diff(one.at) >= 0).all() and one.at[-1] < SECONDS * NANOS
    assert len(one) == pytest.approx(RATE * SECONDS, rel=0.08)


def test_a_digest_is_what_it_was() -> None:
    assert made("constant", rate=10, seconds=1).digest() == "47af0b3f31353496"


def test_gaps_vary_as_asked() -> None:
    for arrivals, cv in (("poisson", 1.0), ("constant", 0.0), ("gamma:2", 2.0), ("gamma:0.5", 0.5)):
        gaps = np.diff(made(arrivals).at)
        assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05, abs=1e-6)


def test_bursts_pause_and_ramps_climb() -> None:
    at = made("bursts:1:3").at / NANOS
    assert (at % 4 < 1).all()
    at = made("ramp:0:2").at / NANOS
    quarters = np.histogram(at, 4, (0, SECONDS))[0] / len(at)
    assert quarters == pytest.approx([1 / 16, 3 / 16, 5 / 16, 7 / 16], abs=0.02)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_poisson_waits_as_md1_does(load: float) -> None:
    service = 0.010
    found = waits(made("poisson", rate=load / service, seconds=4000), service)
    assert found.mean() == pytest.approx(md1(load, service), rel=0.05)


def test_parts_make_up_the_whole() -> None:
    whole = made("poisson")
    parts = [whole.part(number, 3) for number in range(3)]
    assert sorted(np.concatenate([part.at for part in parts])) == whole.at.tolist()
    second = whole.part(1, 3)
    assert second.tokens[: second.first[1]].tolist() == (
        whole.tokens[whole.first[1] : whole.first[2]].tolist()
    )


def test_classes_share_the_rate_and_do_not_disturb_each_other() -> None:
    base = TrafficClass(tokens="8")
    small = parse_class("interactive share=3 deadline=0.5 task=retrieval_query", base)
    bulk = parse_class("bulk share=1 mode=batch texts=32 tokens=200", base)
    both = schedule.make([small, bulk], rate=100, seconds=50, seed=0)
    assert (both.kind == 0).mean() == pytest.approx(0.75, abs=0.03)
    assert set(both.texts()[both.kind == 1]) == {32}
    assert set(both.deadline[both.kind == 0]) == {NANOS // 2}
    alone = schedule.make([small], rate=75, seconds=50, seed=0)
    assert both.at[both.kind == 0].tolist() == alone.at.tolist()


def test_a_trace_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    calls = [{"at": 0.5, "tokens": [3, 4], "deadline": 2}, {"at": 0.25, "task": "clustering"}]
    path.write_text("\n".join(map(json.dumps, calls)))
    one = TrafficClass(mode="batch", arrivals=f"trace:{path}", tokens="9")
    found = schedule.make([one], rate=1, seconds=10, seed=0)
    assert found.at.tolist() == [NANOS // 4, NANOS // 2]
    assert found.tokens.tolist() == [9, 3, 4]
    assert found.deadline.tolist() == [10 * NANOS, 2 * NANOS]
    assert schedule.TASK_NUMBERS[found.task[0]] == "clustering"
    path.write_text('{"at": 1}\n{"at": "soon"}')
    with pytest.raises(ValueError, match="line 2"):
        schedule.make([one], rate=1, seconds=10, seed=0)


def test_lengths_are_as_asked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def drawn(spec: str) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
        return lengths.parse(spec)(rng, 20_000)

    assert set(drawn("7")) == set(drawn("fixed:7")) == {7}
    assert set(drawn("uniform:3:5")) == {3, 4, 5}
    assert np.median(drawn("lognormal:40:0.6")) == pytest.approx(40, abs=1)
    mixed = drawn("0.8*uniform:8:32+0.2*fixed:400")
    assert (mixed == 400).mean() == pytest.approx(0.2, abs=0.02) and mixed.min() == 8
    (tmp_path / "lengths").write_text("5\n6\n")
    assert set(drawn(f"file:{tmp_path / 'lengths'}")) == {5, 6}


@pytest.mark.parametrize("spec", ["", "0", "uniform:5:3", "normal:3:1", "2*", "-1*5+1*5", "x*5+5"])
def test_no_other_lengths(spec: str) -> None:
    with pytest.raises(ValueError, match=r"must be|no number|no distribution"):
        lengths.parse(spec)


@pytest.mark.parametrize("arrivals", ["", "uniform", "gamma:0", "bursts:0:1", "ramp:0:0"])
def test_no_other_arrivals(arrivals: str) -> None:
    with pytest.raises(ValueError, match="no way to arrive"):
        made(arrivals)


@pytest.mark.parametrize(
    "spec",
    ["a mode=fast", "a share=0", "a share=x", "a texts=2", "a deadline=61", "a name=b", "a task=x"],
)
def test_no_other_classes(spec: str) -> None:
    with pytest.raises(ValueError, match="class a"):
        parse_class(spec, TrafficClass())
