"""Prints the goals of the GPU and the predictions of KERNELS.md beside the figures of `make gpu`.

    python benchmarks/gpu_goals.py FOLDER [gpu-CARD]

If no file has a figure, it is "-", and its goal is neither met nor missed.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_predictions import predictions

Results = Mapping[str, dict[str, Any]]
"""Maps a part's name to its result."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Compares a figure, or None if no file has one, with a bound. `how` names what was measured."""

    name: str
    wanted: float
    measured: float | None
    how: str = ""
    at_least: bool = True

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted


def goals(results: Results) -> Iterator[Goal]:
    engines: dict[str, Any] = results.get("engine", {}).get("engines", {})
    for length, wanted in (("128", 2.1), ("512", 1.9), ("2048", 1.6)):
        rate, how = _best(engines, length, max, "served")
        yield Goal(f"{length} tokens a text, M tokens/s", wanted, rate and rate / 1e6, how)
    for kind in ("served", "chained"):
        query, how = _best(engines, "query_ms", min, kind)
        yield Goal("query of 16 tokens, ms", 0.45, query, how, at_least=False)
    query, how = _best(engines, "query_ms", min, "")
    yield Goal("query of 16 tokens, ms, stretch", 0.30, query, how, at_least=False)
    mixed = results.get("mixed", {})
    for name in ("lognormal", "queries and passages"):
        mix = mixed.get("mixes", {}).get(name, {})
        without = ", ".join(mixed.get("not_run", {}))
        how = f"{mix.get('best_rival')}{f'; not run: {without}' if without else ''}"
        yield Goal(f"{name}, times the best rival", 6.0, mix.get("ratio"), how)
    fronts = results.get("served", {}).get("fronts", {})
    loads = {f"{n} fronts": load for n, load in fronts.items()}
    streams = {name: load["stream"] for name, load in loads.items() if "stream" in load}
    rate, how = _best(streams, "tokens_per_second", max, "")
    yield Goal("streams of 50-token texts, M tokens/s", 1.6, rate and rate / 1e6, how)
    unary = {name: load["unary"] for name, load in loads.items() if "unary" in load}
    p50, how = _best(unary, "p50_ms", min, "")
    yield Goal("unary call, p50, ms", 1.5, p50, how, at_least=False)
    checks = results.get("checks", {}).get("checks", {})
    verify = checks.get("verify", {}).get("verdict")
    yield Goal("inside the gate (1: yes)", 1, verify and float(verify == "passed"), "verify")
    own = checks.get("self-check", {}).get("figures", {})
    stable = own.get("stable")
    yield Goal("the same bits (1: yes)", 1, float(all(stable.values())) if stable else None)
    held = own.get("default", {}).get("reserved_bytes")
    yield Goal("memory held, GB", 3.0, held and held / 1e9, at_least=False)


def _best(
    found: Mapping[str, Mapping[str, Any]], key: str, choose: Callable[..., str], kind: str
) -> tuple[Any, str]:
    """Returns the best figure of the entries whose name begins with `kind`, and its name."""
    having = {
        name: entry[key]
        for name, entry in found.items()
        if name.startswith(kind) and entry.get(key) is not None
    }
    if not having:
        return None, ""
    name = choose(having, key=having.__getitem__)
    return having[name], name


def read(folder: Path, prefix: str) -> tuple[dict[str, dict[str, Any]], bool]:
    """Reads the results of all parts, and whether one of them comes from a dry run."""
    documents = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{prefix}-*.json"))]
    parts = [document for document in documents if "part" in document]
    results = {document["part"]: document["result"] or {} for document in parts}
    return results, any("dry_run" in document for document in parts)


def tables(folder: Path, prefix: str) -> str:
    """Returns both tables as text."""
    results, dry_run = read(folder, prefix)
    lines = [f"\n{'goal':42} {'wanted':>9} {'measured':>9}"]
    for goal in goals(results):
        sign = ">=" if goal.at_least else "<="
        verdict = {True: "met", False: "MISSED", None: "not measured"}[goal.met]
        measured = "-" if goal.measured is None else f"{goal.measured:.3f}"
        lines.append(
            f"{goal.name:42} {sign} {goal.wanted:6g} {measured:>9} "
            f"{'dry run' if dry_run else verdict:12} {goal.how}".rstrip()
        )
    lines.append(f"\n{'prediction':58} {'predicted':>20}  measured")
    for row in predictions(results):
        measured = row.measured or "-"
        lines.append(f"{row.choice:58} {row.predicted:>20}  {measured}")
    if dry_run:
        lines.append("DRY RUN: no figure above was measured on a GPU")
    return "\n".join(lines)


def main() -> int:
    folder = Path(sys.argv[1])
    prefixes = sys.argv[2:] or sorted(
        {path.name.removesuffix("-machine.json") for path in folder.glob("gpu-*-machine.json")}
    )
    for prefix in prefixes:
        print(f"{prefix}{tables(folder, prefix)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
