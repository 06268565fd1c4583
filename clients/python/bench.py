"""Measures what the Python client costs: python clients/python/bench.py ADDRESS TEXTS [--asyncio]

Prints one line of JSON: the latency of unary calls in a row, and the CPU time of this process, user and
system, for a stream of so many short texts. Every client library has such a program; benchmarks/clients.py
runs them.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator

import grpc
import numpy as np

from gemwire_client import AsyncClient, Client

QUERY = "Which planet is known as the Red Planet?"
WARM_UP_TEXTS = 2_000
UNARY_CALLS = 300


def texts(count: int) -> Iterator[str]:
    return (f"text {number}" for number in range(count))


def threads(address: str, count: int) -> dict[str, float]:
    with Client(address) as client:
        for _ in client.embed_iter(texts(WARM_UP_TEXTS)):
            pass
        calls = []
        for _ in range(UNARY_CALLS):
            started = time.perf_counter()
            client.embed_query(QUERY)
            calls.append(time.perf_counter() - started)
        started, cpu = time.perf_counter(), time.process_time()
        answered = sum(1 for _ in client.embed_iter(texts(count)))
        return figures(calls, answered, time.perf_counter() - started, time.process_time() - cpu)


async def event_loop(address: str, count: int) -> dict[str, float]:
    async with AsyncClient(address) as client:
        async for _ in client.embed_iter(texts(WARM_UP_TEXTS)):
            pass
        calls = []
        for _ in range(UNARY_CALLS):
            started = time.perf_counter()
            await client.embed_query(QUERY)
            calls.append(time.perf_counter() - started)
        started, cpu = time.perf_counter(), time.process_time()
        answered = 0
        async for _ in client.embed_iter(texts(count)):
            answered += 1
        return figures(calls, answered, time.perf_counter() - started, time.process_time() - cpu)


def figures(calls: list[float], answered: int, seconds: float, cpu: float) -> dict[str, float]:
    return {
        "unary_p50_ms": 1e3 * float(np.percentile(calls, 50)),
        "unary_p99_ms": 1e3 * float(np.percentile(calls, 99)),
        "texts": answered,
        "stream_seconds": seconds,
        "stream_cpu_seconds": cpu,
    }


def main() -> None:
    address, count = sys.argv[1], int(sys.argv[2])
    if "--asyncio" in sys.argv[3:]:
        name, found = "python-asyncio", asyncio.run(event_loop(address, count))
    else:
        name, found = "python", threads(address, count)
    runtime = f"grpcio {grpc.__version__}, Python {sys.version.split()[0]}"
    print(json.dumps({"client": name, "runtime": runtime, **found}))


if __name__ == "__main__":
    main()
