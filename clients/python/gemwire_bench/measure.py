"""Runs a whole measurement (one step, a closed loop or a sweep) and makes its result."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from gemwire_bench import result
from gemwire_bench.golden import Golden, comparing
from gemwire_bench.run import Plan, Step, Watch, Workers
from gemwire_bench.slo import Slo
from gemwire_bench.sweep import Sweep
from gemwire_bench.target import Asked

OnStep = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Measurement:
    """`plan` is the step to run, or with a `sweep` the pattern of its steps."""

    plan: Plan
    slos: tuple[Slo, ...] = ()
    sweep: Sweep | None = None

    def run(
        self,
        workers: Workers,
        *,
        asked: Asked | None,
        golden: Golden | None,
        watch: Watch,
        on_step: OnStep,
        facts: dict[str, Any],
    ) -> dict[str, Any]:
        """The result. Calls `on_step` with each step as it ends. Raises GemwireError or WorkerFailed."""

        def step(plan: Plan) -> Step:
            checked = comparing(golden, asked) if golden and asked else nullcontext()
            with checked as compared:
                ended = workers.run(plan, watch=watch)
            ended = replace(ended, golden=compared)
            on_step(ended)
            return ended

        if self.sweep is None:
            steps = [step(self.plan)]
            found = {"valid": not steps[0].accusations, "accusations": steps[0].accusations}
        else:
            steps, found = self._swept(self.sweep, step)
        return result.of_run(steps, list(self.slos), **facts, **found)

    def _swept(
        self, sweep: Sweep, step: Callable[[Plan], Step]
    ) -> tuple[list[Step], dict[str, Any]]:
        steps: dict[float, Step] = {}

        def at(rate: float) -> Step:
            return step(replace(self.plan, rate=rate))

        def holds(one: Step) -> bool:
            return not one.instabilities

        def keeps(one: Step) -> bool:
            return holds(one) and all(slo.met(one.records) for slo in self.slos)

        knee = sweep.search(steps, at, holds)
        found: dict[str, Any] = {"knee": knee}
        if self.slos:
            # No rate above the knee is stable, so none above it can keep the SLO.
            start = replace(sweep, start=knee or sweep.start)
            found["highest_within_slo"] = start.search(steps, at, keeps)
        ordered = [steps[rate] for rate in sorted(steps)]
        accused = accusations(ordered, [knee, found.get("highest_within_slo")])
        return ordered, {**found, "valid": not accused, "accusations": accused}


def accusations(ordered: Sequence[Step], rests_on: Sequence[float | None]) -> list[str]:
    """Why a sweep is invalid: the client spoilt a step that the result rests on, or vectors were wrong.

    A spoilt step elsewhere is only marked: it can only make the server look worse.
    """
    found = []
    for step in ordered:
        said = step.accusations
        if step.plan.rate not in rests_on:
            said = step.golden.wrong() if step.golden else []
        found += [f"at {step.plan.rate:g}/s: {one}" for one in said]
    return found
