"""Part g measures `gemwire serve` on the GPU with 1, 2, 4 and 8 fronts, by `gemwire bench` beside it.

Of each number of fronts: unary calls of one short query, open loop, for p50 and p99; and streams of texts
of 50 tokens, closed loop, for tokens a second. Client and server share the machine's cores. All servers
start at once, as a start takes seconds, and are asked one after the other.

    python benchmarks/gpu_served.py [--model DIR] [--seconds 60] [--tile-table FILE] [--output FILE]

Prints a table; the last line is JSON.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_command import START_SECONDS, WARM_UP_SECONDS, bench
from card import card, require_cuda
from environment import environment, full_checkpoint
from measure import keep
from part import part_parser
from server_process import server_process

LEAST_SECONDS, MOST_SECONDS = 1.0, 4.0  # that a load is measured for
STOP_SECONDS = 8.0  # for the servers to end, side by side


@dataclass(frozen=True)
class Loads:
    """Holds the flags of the loads. `fronts` has the ends first, in case time ends the run."""

    fronts: tuple[int, ...]
    unary: tuple[str, ...]
    stream: tuple[str, ...]
    server: tuple[str, ...] = ()


def loads(dry_run: bool) -> Loads:
    if dry_run:
        small = ("--tokens", "4")
        return Loads(
            fronts=(2, 1),
            unary=("--rate", "2", *small),
            stream=("--mode", "stream", "--callers", "2", "--texts", "2", *small),
            server=("--max-batch-tokens", "40"),
        )
    # As many senders as fronts and engine leave cores for; more connections than fronts, so that each
    # front has some.
    workers = str(max(1, (os.cpu_count() or 1) // 3))
    return Loads(
        fronts=(1, 8, 4, 2),
        unary=("--rate", "200", "--tokens", "16"),
        stream=(
            "--mode", "stream", "--callers", "24", "--texts", "64", "--tokens", "50",
            "--workers", workers, "--connections", "4",
        ),
        server=("--max-queue-tokens", str(1 << 20)),
    )  # fmt: skip


def main() -> int:
    args = part_parser(__doc__, seconds=60.0).parse_args()
    require_cuda()
    end = time.monotonic() + args.seconds - STOP_SECONDS
    checkpoint = Path(args.model or full_checkpoint())
    load = loads(args.dry_run)
    result: dict[str, Any] = {
        "benchmark": "gpu_served",
        "environment": environment() | {"card": card()},
        "cores": os.cpu_count(),
        "loads": {"unary": load.unary, "stream": load.stream, "server": load.server},
        "fronts": {},
        "not_run": {},
    }
    with ExitStack() as stack:
        servers = start(stack, checkpoint, load, args.tile_table, result["not_run"])
        kinds = {"unary": load.unary, "stream": load.stream}
        todo = [(fronts, kind) for fronts in load.fronts if fronts in servers for kind in kinds]
        for number, (fronts, kind) in enumerate(todo):
            left = (end - time.monotonic()) / (len(todo) - number) - START_SECONDS - WARM_UP_SECONDS
            label = f"{kind}, {fronts} fronts"
            if left < LEAST_SECONDS:
                result["not_run"][label] = "no time was left"
                continue
            try:
                found = bench(servers[fronts], min(left, MOST_SECONDS), *kinds[kind])
            except Exception as error:  # of this load; the others still run
                result["not_run"][label] = f"{type(error).__name__}: {error}"
                print(f"{label}: {result['not_run'][label]}", flush=True)
                continue
            result["fronts"].setdefault(str(fronts), {})[kind] = found
            keep(result, args.output)
            print(line_of(label, found), flush=True)
    keep(result, args.output)
    for label, why in result["not_run"].items():
        print(f"not run: {label}: {why}")
    print(json.dumps(result))
    return 0 if result["fronts"] else 1


def start(
    stack: ExitStack, checkpoint: Path, load: Loads, tiles: Path | None, not_run: dict[str, str]
) -> dict[int, str]:
    """Starts the servers, which the stack stops, and returns the addresses of the ready ones by fronts."""
    flags = ["--device", "cuda", *load.server]
    if tiles:
        flags += ["--tile-table", str(tiles)]

    def one(fronts: int) -> Any:
        server = server_process(checkpoint, *flags, "--fronts", str(fronts))
        try:
            return server, server.__enter__().address
        except SystemExit as error:
            not_run[f"{fronts} fronts"] = str(error)
            return None

    with ThreadPoolExecutor(len(load.fronts)) as pool:
        started = dict(zip(load.fronts, pool.map(one, load.fronts), strict=True))
    running = {fronts: ready for fronts, ready in started.items() if ready is not None}
    stack.callback(_stop, [server for server, _ in running.values()])
    return {fronts: address for fronts, (_, address) in running.items()}


def _stop(servers: Sequence[Any]) -> None:
    with ThreadPoolExecutor(len(servers) or 1) as pool:
        list(pool.map(lambda server: server.__exit__(None, None, None), servers))


def line_of(label: str, found: dict[str, Any]) -> str:
    p50, p99 = (found[name] or float("nan") for name in ("p50_ms", "p99_ms"))
    invalid = "" if found["valid"] else f"  NOT VALID: {'; '.join(found['accusations'])}"
    return (
        f"{label:18} {found['calls_per_second']:9.0f} calls/s {found['tokens_per_second'] / 1e6:6.3f} M "
        f"tokens/s, p50 {p50:7.2f} ms, p99 {p99:7.2f} ms, client {found['client_cores']:.1f} cores, "
        f"{found['not_answered']} not answered{invalid}"
    )


if __name__ == "__main__":
    sys.exit(main())
