"""Tests the goals and predictions with results that meet, miss or lack them."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

from gpu_goals import goals, tables
from gpu_predictions import predictions
from gpu_tune import EXPECTED, dearest


def row(
    operation: str, seconds: float, contender: str = "gemwire", tokens: int = 16896
) -> dict[str, Any]:
    rates = {"bytes_per_second": 2e12, "flops_per_second": 5e14, "share_of_ceiling": 0.6}
    return {
        "operation": operation, "tokens": tokens, "contender": contender, "seconds": seconds, **rates,
    }  # fmt: skip


def engine(scale: float, query: float) -> dict[str, float]:
    rates = {"128": 2.2e6, "512": 1.8e6, "2048": 1.7e6, "lognormal": 2e6}
    return {name: scale * rate for name, rate in rates.items()} | {"query_ms": query}


RESULTS: dict[str, Any] = {
    "engine": {
        "engines": {
            "served, steps of 5632": engine(0.9, 0.41),
            "served, steps of 16896": engine(1.0, 0.42),
            "chained, steps of 16896": engine(1.1, 0.29),
            "cuBLAS, steps of 16896": engine(1.05, 0.42),
        },
        "steps": {"5632": {"ms": 2.7, "tokens": 5632, "kernels_us": {}}},
    },
    "kernels": {
        "ceilings": {"bytes_per_second": 4e12, "flops_per_second": 8e14},
        "rows": [
            row("gate_up_geglu", 60e-6), row("gate_up_geglu", 50e-6, "cublas"), row("linear o", 20e-6),
            row("linear down", 20e-6), row("qkv_norm_rope", 45e-6), row("attention window 512", 30e-6),
            row("attention full 512", 90e-6), row("norm_residual_norm", 10e-6),
        ],
    },
    "mixed": {
        "mixes": {"lognormal": {"best_rival": "varlen_attn", "ratio": 5.5}},
        "not_run": {"torch.compile": "no time was left"},
    },
    "served": {
        "fronts": {
            "1": {"unary": {"p50_ms": 1.4}, "stream": {"tokens_per_second": 4e5}},
            "8": {"unary": {"p50_ms": None}, "stream": {"tokens_per_second": 1.7e6}},
        }
    },
    "checks": {
        "checks": {
            "verify": {"verdict": "failed"},
            "self-check": {"figures": {"stable": {"a": True, "b": False}}},
        }
    },
}  # fmt: skip


def test_each_goal_is_met_missed_or_not_measured() -> None:
    found = [(goal.name.split(",")[0], goal.measured, goal.met) for goal in goals(RESULTS)]
    assert found == [
        ("128 tokens a text", 2.2, True),
        ("512 tokens a text", 1.8, False),
        ("2048 tokens a text", 1.7, True),
        ("query of 16 tokens", 0.41, True),
        ("query of 16 tokens", 0.29, True),
        ("query of 16 tokens", 0.29, True),
        ("lognormal", 5.5, False),
        ("queries and passages", None, None),
        ("streams of 50-token texts", 1.7, True),
        ("unary call", 1.4, True),
        ("inside the gate (1: yes)", 0.0, False),
        ("the same bits (1: yes)", 0.0, False),
        ("memory held", None, None),
    ]
    assert [goal.met for goal in goals({})] == [None] * len(found)


def test_predictions_are_answered_from_what_there_is() -> None:
    said = {row.choice: row.measured for row in predictions(RESULTS)}
    assert said["1 gate and up with GeGLU in the epilogue"] == (
        "+14 ns a token over cuBLAS's product alone"
    )
    assert said["1 norms of whole rows"] == "50% of a copy's speed, 28 ns a token"
    assert (
        said["1 o and down by cuBLAS instead"] == "+5.0%, +5.0%, +5.0% tokens/s at 128, 512, 2048"
    )
    assert said["1 steps of 5,632 tokens by default"] == (
        "2.70 ms; at 512 1.62 M tokens/s, steps of 16896 1.80"
    )
    assert said["2 programmatic dependent launch: a query"] == "0.290 ms"
    assert said["1 tile sets share BLOCK_K and attention's tile"] == "a: equal, b: OTHER"
    assert said["all of it, texts of 128 tokens"] == "455 ns a token"
    assert said["1 attention: 128 packed rows, 64 keys"] is None  # a row is missing
    assert {row.measured for row in predictions({})} == {None}


def test_tables_are_of_one_cards_files_and_say_which_rivals_are_missing(tmp_path: Path) -> None:
    for name, result in RESULTS.items():
        document = {"part": name, "result": result}
        (tmp_path / f"gpu-card-{name}.json").write_text(json.dumps(document))
    (tmp_path / "gpu-card-tiles.json").write_text(json.dumps({"measured": []}))
    (tmp_path / "gpu-other-engine.json").write_text("no JSON")
    said = tables(tmp_path, "gpu-card")
    assert "met          served, steps of 16896" in said
    assert "MISSED       varlen_attn; not run: torch.compile" in said
    assert "not measured" in said and "DRY RUN" not in said


def test_the_dearest_operations_are_those_that_were_measured(tmp_path: Path) -> None:
    path = tmp_path / "kernels.json"
    path.write_text(json.dumps({"part": "kernels", "result": RESULTS["kernels"]}))
    # Of attention five layers in six see a window: 5/6 of 30 and 1/6 of 90 µs.
    assert dearest(path) == ["gate_up", "qkv", "linear"]
    path.write_text(json.dumps({"part": "kernels", "result": None}))
    assert dearest(path) == dearest(None) == list(EXPECTED)
