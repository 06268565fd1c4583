"""Tests the predictions of KERNELS.md with the figures of a run."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LARGE, SERVED, QUERY = 16896, 5632, 16
LAYERS = 24
NS, US = 1e9, 1e6


@dataclass(frozen=True, slots=True)
class Row:
    """Repeats a prediction in the words of the log. `measured` is None if no file has the figures."""

    choice: str
    predicted: str
    measured: str | None


class Found:
    """Finds the figures of the parts. Its methods raise KeyError for a figure that no file has."""

    def __init__(self, results: Mapping[str, dict[str, Any]]) -> None:
        self.results = results
        # Of each operation, number of tokens and contender, the first row: the one beside cuBLAS.
        self._rows: dict[tuple[str, int, str], dict[str, Any]] = {}
        for row in results.get("kernels", {}).get("rows", []):
            if "seconds" in row:
                key = row["operation"], row["tokens"], row["contender"]
                self._rows.setdefault(key, row)

    def kernel(self, operation: str, tokens: int, contender: str = "gemwire") -> dict[str, Any]:
        return self._rows[operation, tokens, contender]

    def engine(self, kind: str, key: str, budget: int = LARGE) -> float:
        value: float = self.results["engine"]["engines"][f"{kind}, steps of {budget}"][key]
        return value

    def step(self, budget: int) -> dict[str, Any]:
        found: dict[str, Any] = self.results["engine"]["steps"][str(budget)]
        return found


def predictions(results: Mapping[str, dict[str, Any]]) -> Iterator[Row]:
    found = Found(results)
    for choice, predicted, measure in TESTED:
        try:
            yield Row(choice, predicted, measure(found))
        except KeyError:
            yield Row(choice, predicted, None)


def _attention(found: Found) -> str:
    rates = {
        label: found.kernel(f"attention {label}", LARGE)["flops_per_second"] / 1e12
        for label in ("window 128", "window 512", "full 2048")
    }
    return ", ".join(f"{label}: {rate:.0f}" for label, rate in rates.items()) + " TFLOP/s"


def _attention_time(found: Found) -> str:
    times = {
        length: found.kernel(f"attention window {length}", LARGE)["seconds"] * NS * LAYERS / LARGE
        for length in (128, 512)
    }
    return ", ".join(f"{time:.0f} ns a token at {length}" for length, time in times.items())


def _products(found: Found) -> str:
    rates = {
        name: found.kernel(name, LARGE)["flops_per_second"] / 1e12
        for name in ("qkv_norm_rope", "linear o", "linear down", "gate_up_geglu")
    }
    return ", ".join(f"{name.split('_')[0]} {rate:.0f}" for name, rate in rates.items())


def _epilogue(operation: str) -> Callable[[Found], str]:
    def measure(found: Found) -> str:
        ours, product = (
            found.kernel(operation, LARGE, name)["seconds"] for name in ("gemwire", "cublas")
        )
        more = (ours - product) * LAYERS * NS / LARGE
        return f"{more:+.0f} ns a token over cuBLAS's product alone"

    return measure


def _norms(found: Found) -> str:
    row = found.kernel("norm_residual_norm", LARGE)
    top = found.results["kernels"]["ceilings"]["bytes_per_second"]
    time = row["seconds"] * 2 * LAYERS * NS / LARGE
    return f"{row['bytes_per_second'] / top:.0%} of a copy's speed, {time:.0f} ns a token"


def _microseconds(operation: str) -> Callable[[Found], str]:
    def measure(found: Found) -> str:
        return f"{found.kernel(operation, SERVED)['seconds'] * US:.1f} µs of {SERVED} tokens"

    return measure


def _steps(found: Found) -> str:
    rates = [found.engine("served", "512", budget) / 1e6 for budget in (SERVED, LARGE)]
    return (
        f"{found.step(SERVED)['ms']:.2f} ms; at 512 {rates[0]:.2f} M tokens/s, steps of "
        f"{LARGE} {rates[1]:.2f}"
    )


def _against_served(kind: str) -> Callable[[Found], str]:
    def measure(found: Found) -> str:
        changes = [
            found.engine(kind, length) / found.engine("served", length) - 1
            for length in ("128", "512", "2048")
        ]
        return ", ".join(f"{change:+.1%}" for change in changes) + " tokens/s at 128, 512, 2048"

    return measure


def _query(kind: str, budget: int) -> Callable[[Found], str]:
    return lambda found: f"{found.engine(kind, 'query_ms', budget):.3f} ms"


def _query_chained(found: Found) -> str:
    """Results of version 2 lack the engine without chained launches."""
    unchained = found.engine("unchained", "query_ms")
    return f"{found.engine('served', 'query_ms'):.3f} ms, unchained {unchained:.3f}"


def _small(found: Found) -> str:
    names = ("qkv_norm_rope", "linear o", "linear down", "gate_up_geglu")
    shares = [found.kernel(name, QUERY)["share_of_ceiling"] for name in names]
    return ", ".join(f"{share:.0%}" for share in shares) + " of the floor: qkv, o, down, gate"


def _bits(found: Found) -> str:
    stable = found.results["checks"]["checks"]["self-check"]["figures"]["stable"]
    return ", ".join(f"{name}: {'equal' if same else 'OTHER'}" for name, same in stable.items())


def _sum(found: Found) -> str:
    return f"{NS / found.engine('served', '128'):.0f} ns a token"


# In the order of the log; the last is what they add up to.
TESTED: tuple[tuple[str, str, Callable[[Found], str]], ...] = (
    ("1 attention: 128 packed rows, 64 keys", "300-380 TFLOP/s", _attention),
    ("1 q, k, v with norm and rotation in the epilogue", "saves 33 ns a token", _epilogue("qkv_norm_rope")),
    ("1 gate and up with GeGLU in the epilogue", "saves 55 ns a token", _epilogue("gate_up_geglu")),
    ("1 products of 128 x (2 x 128) x 64", "480-580 TFLOP/s", _products),
    ("1 norms of whole rows", "memory-bound", _norms),
    ("1 pooling by attention's tiles, then by text", "2 µs", _microseconds("pool")),
    ("1 head in two launches over 48 blocks", "4 µs", _microseconds("head")),
    ("1 steps of 5,632 tokens by default", "2.6 ms a step", _steps),
    ("1 small batches: 64 rows, 16 weight rows", "24-72 programs", _small),
    ("1 tile sets share BLOCK_K and attention's tile", "the same bits", _bits),
    ("1 o and down by cuBLAS instead", "+3-9%", _against_served("cuBLAS")),
    ("2 attention's tiles are whole blocks, the loop runs", "28 at 128, 68 at 512", _attention_time),
    ("2 buckets of 16 and 32, more stages: a query", "0.55 ms", _query("served", SERVED)),
    ("2 programmatic dependent launch: a query", "0.40 ms", _query("chained", LARGE)),
    ("2 programmatic dependent launch: throughput", "-", _against_served("chained")),
    ("4 all of K at once, attention of 64 rows: a query", "-", _query_chained),
    ("--residual bf16", "saves 49 ns a token", _against_served("bf16 residual")),
    ("no graphs", "-", _against_served("no graphs")),
    ("all of it, texts of 128 tokens", "410-470 ns a token", _sum),
)  # fmt: skip
