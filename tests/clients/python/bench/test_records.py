"""Histograms, promises, verdicts, the search and the comparison, from samples made up here."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gemwire_bench import compare, result, slo
from gemwire_bench.measure import accusations
from gemwire_bench.mix import TrafficClass
from gemwire_bench.records import Records, counts, decoded, encoded, percentile
from gemwire_bench.run import Plan, Step
from gemwire_bench.samples import Rows, Samples, rows
from gemwire_bench.sweep import Sweep
from gemwire_bench.verdict import accusations as own_accusations
from gemwire_bench.verdict import instabilities

MILLI = 1_000_000
SECOND = 1_000_000_000


def made(
    latencies: "np.ndarray[Any, np.dtype[np.float64]]",
    *,
    code: str = "OK",
    rate: float = 100.0,
    lag: float = 0.0,
    queue: float = 0.0,
) -> Rows:
    """Samples due evenly, with latencies, lag and queue in milliseconds."""
    samples = Samples()
    for number, latency in enumerate(latencies):
        due = round(number / rate * SECOND)
        begun = due + round(lag * MILLI)
        samples.add(
            kind=0, code=code, due=due, begun=begun, sent=begun,
            ended=due + round(latency * MILLI), queue=round(queue * MILLI), good=int(code == "OK"),
        )  # fmt: skip
    return rows(samples.take())


def recorded(*parts: Rows, warm_up: float = 0.0) -> Records:
    found = Records(("all",), warm_up)
    for part in parts:
        found.add(part)
    return found


def draw(count: int, seed: int = 0, scale: float = 1.0) -> "np.ndarray[Any, np.dtype[np.float64]]":
    found: np.ndarray[Any, np.dtype[np.float64]] = np.random.default_rng(seed).lognormal(
        3, 0.5, count
    )
    return scale * found


def test_percentiles_are_numpys_to_three_digits() -> None:
    latencies = draw(20_000)
    histogram = recorded(made(latencies)).histogram("latency")
    for rank in (50, 90, 99, 99.9):
        expected = np.percentile(latencies, rank, method="inverted_cdf") * 1e3
        assert percentile(histogram, rank) == pytest.approx(expected, rel=2e-3)


def test_joining_is_exact() -> None:
    latencies = draw(6000)
    parts = [latencies[:1000], latencies[1000:]]
    whole = recorded(*map(made, parts))
    one, other = (recorded(made(part)) for part in parts)
    one.join(other)
    for mine, both in zip(
        counts(one.histogram("latency")), counts(whole.histogram("latency")), strict=True
    ):
        assert mine.tolist() == both.tolist()
    assert one.counts == whole.counts
    again = decoded(encoded(one.histogram("latency")))
    assert counts(again)[1].tolist() == counts(whole.histogram("latency"))[1].tolist()


def test_few_samples_have_no_p999() -> None:
    assert percentile(recorded(made(draw(9_999))).histogram("latency"), 99.9) is None
    assert percentile(recorded(made(draw(10_000))).histogram("latency"), 99.9) is not None


def test_the_warm_up_is_left_out() -> None:
    slow, fast = np.full(100, 900.0), np.full(100, 5.0)
    found = recorded(made(np.concatenate([slow, fast])), warm_up=1.0)
    assert found.count("samples") == 100
    assert found.histogram("latency").get_max_value() < 6_000
    assert [second for second, _ in found.by_second("latency")] == [0]


def test_what_is_refused_is_not_within_the_promise() -> None:
    good, refused = made(np.full(980, 10.0)), made(np.full(20, 1.0), code="RESOURCE_EXHAUSTED")
    found = recorded(good, refused)
    assert slo.parse("p98=50ms").met(found) and not slo.parse("p99=50ms").met(found)
    assert not slo.parse("p50=9ms").met(found)
    assert slo.parse("p99=50ms").share(found) == pytest.approx(0.98)
    assert str(slo.parse("interactive:p99.9=0.25s")) == "interactive:p99.9=250ms"
    for wrong in ("p99", "p0=5ms", "p100=5ms", "99=5ms", "p99=5"):
        with pytest.raises(ValueError, match="no SLO"):
            slo.parse(wrong)


def test_a_run_accuses_itself() -> None:
    fine = recorded(made(np.full(1000, 100.0), lag=1.0))
    assert not own_accusations(fine, [0.5], closed=False)
    assert "of a core" in own_accusations(fine, [0.5, 0.9], closed=False)[0]
    late = recorded(made(np.full(1000, 1000.0), lag=6.0))
    assert "over 5 ms" in own_accusations(late, [0.1], closed=False)[0]
    short = recorded(made(np.full(1000, 10.0), lag=1.0))
    assert "of the median" in own_accusations(short, [0.1], closed=False)[0]
    wrong = recorded(made(np.full(10, 10.0), code="WRONG"))
    assert "no vectors" in own_accusations(wrong, [0.1], closed=True)[0]
    assert own_accusations(recorded(), [0.1], closed=False)


def test_a_growing_queue_is_not_stable() -> None:
    def second(number: int, queue: float) -> Rows:
        found = made(np.full(100, queue), queue=queue).copy()
        for column in ("due", "begun", "sent", "ended"):
            found[column] += number * SECOND
        return found

    assert not instabilities(recorded(*(second(i, 50.0) for i in range(9))))
    assert "grew" in instabilities(recorded(*(second(i, 20.0 * i) for i in range(9))))[0]
    # What waits before the engine's queue is in the latency alone.
    slow = [second(i, 20.0 * i) for i in range(9)]
    for part in slow:
        part["queue"] = 0
    assert instabilities(recorded(*slow)) == ["the latency grew from 20.0 to 140.0 ms"]
    # A call a second: one of them that is long is no growth, more and more of them are.
    one_long = [300, 250, 600, 280, 300, 300, 280, 320, 300, 1500, 300, 350]
    assert not instabilities(recorded(made(np.array(one_long, float), rate=1.0)))
    longer = recorded(made(np.linspace(300, 2000, 12), rate=1.0))
    assert "the latency grew" in instabilities(longer)[0]
    few = recorded(made(np.full(980, 5.0)), made(np.full(20, 5.0), code="DEADLINE_EXCEEDED"))
    assert "98.0% answered" in instabilities(few)[0]


def step(rate: float, capacity: float, *, cpu: float = 0.1) -> Step:
    plan = Plan((TrafficClass(),), rate, 10.0, 0.0, 0)
    code = "OK" if rate <= capacity else "RESOURCE_EXHAUSTED"
    latency = 100.0 / max(1 - rate / capacity, 0.01)
    records = recorded(made(np.full(100, latency), code=code))
    return Step(plan, "", 100, records, (cpu,))


def test_the_search_finds_the_knee() -> None:
    promise = slo.parse("p99=400ms")
    for capacity in (7.0, 33.0, 500.0):
        ran: list[float] = []

        def run(rate: float, capacity: float = capacity, ran: list[float] = ran) -> Step:
            ran.append(rate)
            return step(rate, capacity)

        steps: dict[float, Step] = {}
        sweep = Sweep(20.0, bisections=6)
        knee = sweep.search(steps, run, lambda one: not one.instabilities)
        assert knee is not None and knee <= capacity and knee == pytest.approx(capacity, rel=0.02)
        within = replace(sweep, start=knee).search(
            steps, run, lambda one: not one.instabilities and promise.met(one.records)
        )
        assert within == pytest.approx(0.75 * capacity, rel=0.02)
        assert len(ran) == len(set(ran)) == len(steps)


def test_the_search_does_not_go_down_for_ever() -> None:
    steps: dict[float, Step] = {}
    sweep = Sweep(20.0, lowest=5.0)
    assert sweep.search(steps, lambda rate: step(rate, 1e-3), lambda one: False) is None
    assert min(steps) >= 5.0 and len(steps) > 1


def test_a_sweep_that_its_client_spoilt_says_so() -> None:
    good, spoilt, over = step(10, 100), step(20, 100, cpu=0.95), step(200, 100, cpu=0.95)
    assert not accusations([good, over], [10.0, None])  # there it may be as busy as it likes
    assert "of a core" in accusations([good, spoilt], [20.0, 10.0])[0]


def written(latencies: "np.ndarray[Any, np.dtype[np.float64]]") -> dict[str, Any]:
    plan = Plan((TrafficClass(),), 100.0, len(latencies) / 100, 0.0, 0)
    ended = Step(plan, "digest", len(latencies), recorded(made(latencies)), (0.1,))
    return result.of_run([ended], [], label="", environment={}, valid=True, accusations=[])


def test_comparing_tells_what_differs() -> None:
    before, same, slower = written(draw(3000)), written(draw(3000, 1)), written(draw(3000, 2, 1.2))
    for one in compare.compare(before, same):
        assert not one.differs and one.interval is not None, one
    found = {one.figure: one for one in compare.compare(before, slower)}
    for name in ("p50 ms", "p90 ms"):
        interval = found[name].interval
        assert found[name].differs and interval is not None and interval[0] < 1.2 < interval[1]
    assert not found["ok /s"].differs
    expected = np.percentile(draw(3000), 90, method="inverted_cdf")
    assert found["p90 ms"].before == pytest.approx(expected, rel=2e-3)
    assert "p99.9 ms" not in found
    assert "*" in compare.table(list(found.values()))
    short = compare.compare(written(draw(300)), written(draw(300, 1)))
    assert all(one.interval is None for one in short)
