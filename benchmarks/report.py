"""Prints the result of a run as tables for people."""

import statistics
from typing import Any

from measure import median_ratio
from peers import OURS


def print_report(result: dict[str, Any]) -> None:
    for workload in result["workloads"].values():
        _print_workload(workload)
    print(f"\n{'1 - cos against float32':32} {'mean':>9} {'max':>9}")
    for name, contender in result["contenders"].items():
        print(f"{name:32} {contender['mean_error']:9.1e} {contender['max_error']:9.1e}")
    for name, reason in result["not_run"].items():
        print(f"not run: {name}: {reason}")
    print()
    for goal in result["goals"]:
        ratio = "-" if goal["ratio"] is None else f"{goal['ratio']:.2f}"
        met = {True: "met", False: "MISSED", None: "not run"}[goal["met"]]
        print(
            f"{met:8} {ratio:>5} ({goal['bound']})  "
            f"{goal['workload']}: {goal['ours']} over {goal['theirs']}"
        )


def _print_workload(workload: dict[str, Any]) -> None:
    unit, contenders = workload["unit"], workload["contenders"]
    title = f"{workload['title']}, {workload['tokens']} tokens"
    print(f"\n{title:47} {unit:>9} {'min':>8} {'max':>8}  {OURS} over it")
    for name, entry in contenders.items():
        rounds = entry["rounds"]
        digits = 1 if unit == "ms" else 0
        step = f"{entry['size']} {entry['counts']} a step"
        ratio = ""
        if OURS in contenders and name != OURS:
            ratio = f"{median_ratio(contenders[OURS]['rounds'], rounds):.2f}"
        print(
            f"{name:30} {step:>16} {statistics.median(rounds):9.{digits}f} "
            f"{min(rounds):8.{digits}f} {max(rounds):8.{digits}f}  {ratio}"
        )
