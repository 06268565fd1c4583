"""A result as JSON: versioned, with every histogram, so that new questions need no new measurement."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gemwire_bench.records import (
    PERCENTILES,
    PHASES,
    Records,
    decoded,
    encoded,
    new_histogram,
    percentile,
)
from gemwire_bench.run import Step
from gemwire_bench.samples import UNANSWERED
from gemwire_bench.slo import Slo

SCHEMA = "gemwire-bench/1"
# The keys that reports and comparisons read.
RESULT_KEYS = {"accusations", "environment", "label", "slo", "steps"}
STEP_KEYS = {
    "all", "by_class", "by_second", "callers", "histograms", "rate", "seconds", "slo", "stable", "valid",
}  # fmt: skip
REJECTED = ("RESOURCE_EXHAUSTED",)
EXPIRED = ("DEADLINE_EXCEEDED", UNANSWERED)


def of_run(steps: list[Step], slos: list[Slo], **facts: Any) -> dict[str, Any]:
    """The whole result; `facts` are further keys."""
    return {"schema": SCHEMA, **facts, "slo": [str(slo) for slo in slos]} | {
        "steps": [of_step(step, slos) for step in steps]
    }


def of_step(step: Step, slos: list[Slo]) -> dict[str, Any]:
    """A step's figures: rates per second; latencies in milliseconds, None where samples are too few."""
    plan, records = step.plan, step.records
    seconds = plan.seconds
    return {
        "rate": None if plan.callers else plan.rate,
        "callers": plan.callers,
        "seconds": seconds,
        "warm_up": plan.warm_up,
        "seed": plan.seed,
        "classes": [asdict(one) for one in plan.classes],
        "schedule": {"digest": step.digest, "calls": step.calls},
        "valid": not step.accusations,
        "accusations": step.accusations,
        "stable": not step.instabilities,
        "instabilities": step.instabilities,
        "cpu": [round(share, 3) for share in step.cpu],
        "golden": asdict(step.golden) if step.golden else None,
        "all": _figures(records, None, seconds),
        "by_class": {name: _figures(records, name, seconds) for name in records.classes},
        "slo": [
            {
                "slo": str(slo),
                "share": slo.share(records),
                "met": slo.met(records),
                "goodput": slo.samples_within(records) / seconds,
            }
            for slo in slos
        ],
        "histograms": _histograms(records.whole),
        "by_second": {
            str(second): _histograms(found) for second, found in sorted(records.seconds.items())
        },
    }


def _figures(records: Records, traffic: str | None, seconds: float) -> dict[str, Any]:
    codes = {
        code: records.count("samples", traffic=traffic, code=code)
        for code in sorted({code for _, code, _ in records.counts})
    }
    codes = {code: number for code, number in codes.items() if number}
    asked = sum(codes.values())
    rejected = sum(codes.get(code, 0) for code in REJECTED)
    expired = sum(codes.get(code, 0) for code in EXPIRED)
    answered = codes.get("OK", 0)
    return {
        "samples": asked,
        "ok": answered,
        "rejected": rejected,
        "expired": expired,
        "errors": asked - answered - rejected - expired,
        "codes": codes,
        "offered_per_second": asked / seconds,
        "ok_per_second": answered / seconds,
        "texts_per_second": records.count("good", traffic=traffic) / seconds,
        "tokens_per_second": records.count("tokens", traffic=traffic) / seconds,
        **{phase: _summary(records.histogram(phase, traffic=traffic)) for phase in PHASES},
    }


def rate(step: dict[str, Any], unit: str = "/s") -> str:
    """A step's rate, or its callers, as people read it."""
    return f"{step['callers']} callers" if step["callers"] else f"{step['rate']:g}{unit}"


def _summary(histogram: Any) -> dict[str, Any]:
    total = histogram.get_total_count()
    summary: dict[str, Any] = {"samples": total}
    if total:
        summary["mean"] = histogram.get_mean_value() / 1e3
        summary["max"] = histogram.get_max_value() / 1e3
    for rank in PERCENTILES:
        micros = percentile(histogram, rank)
        summary[f"p{rank:g}"] = None if micros is None else micros / 1e3
    return summary


def _histograms(found: dict[Any, Any]) -> list[dict[str, str]]:
    return [
        {**asdict(key), "hdr": encoded(histogram)}
        for key, histogram in sorted(found.items(), key=lambda pair: str(pair[0]))
    ]


def read(path: Path) -> dict[str, Any]:
    """Raises OSError, or ValueError for a file that is no result, or of another version."""
    try:
        found = json.loads(path.read_text("utf-8"))
        schema = found["schema"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{path}: is no result of gemwire bench") from None
    if schema != SCHEMA:
        raise ValueError(f"{path}: has schema {str(schema)[:80]!r}; this version reads {SCHEMA!r}")
    steps = found.get("steps")
    if not isinstance(steps, list) or not steps or not found.keys() >= RESULT_KEYS:
        raise ValueError(f"{path}: is no whole result of gemwire bench: it has not all its keys")
    for number, step in enumerate(steps, 1):
        if not isinstance(step, dict) or not step.keys() >= STEP_KEYS:
            raise ValueError(f"{path}: step {number} is not whole: it has not all its keys")
    return found  # type: ignore[no-any-return]


def to_json(result: dict[str, Any]) -> str:
    return json.dumps(result) + "\n"


def histogram(part: dict[str, Any], phase: str, code: str = "OK") -> Any:
    """The histogram of a phase and a code in a step that was read, over all its classes."""
    return joined(part["histograms"], phase, code)


def joined(histograms: list[dict[str, str]], phase: str, code: str = "OK") -> Any:
    """One histogram of all that match."""
    whole = new_histogram()
    for one in histograms:
        if one["phase"] == phase and one["code"] == code:
            whole.add(decoded(one["hdr"]))
    return whole


def slo_met(result: dict[str, Any]) -> bool:
    """Whether every SLO was met: in every step, or in any step of a sweep."""
    if not result["slo"]:
        return True
    if "knee" in result:
        return result["highest_within_slo"] is not None
    return all(one["met"] for step in result["steps"] for one in step["slo"])
