"""Measures the APIs of other servers beside gemwire.v1, on one server, in turns.

    python benchmarks/compatible_apis.py [--model mini|full|DIR] [--rounds 5] [--output FILE]

Client and server share the cores. The clients send bytes made before and do not parse vectors (see
api_clients.py). Rows: 64 short texts a request as BatchEmbed, and on the OpenAI route as base64 and as
floats; one query at a time; tei.v1 and gemwire.v1 with 64 callers, one caller, and on a stream. If a
text-embeddings-router built with gRPC is on the PATH, or named by TEI_ROUTER, it serves the same checkpoint
in turns with gemwire, and the rows of tei.v1 are measured on it too.

Prints a table; the last line is JSON, which --output also writes. Exit code 3: a goal is missed.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import tei_router
import uninstalled
from api_clients import grpc_unary, http_post, p50, rate, stream
from environment import environment, full_checkpoint
from gemwire.v1 import embedding_pb2 as pb
from gemwire_compat import tei_pb2 as tei
from gemwire_mini import CHECKPOINT
from measure import progress
from server_process import server_process
from uninstalled import ROOT

MISSED = 3
BATCH = 64
BATCH_CALLERS, CALLERS = 4, 64
OWN = "/gemwire.v1.EmbeddingService/"
TEI = "/tei.v1.Embed/"
WORDS = (ROOT / "server/gemwire_server/checkpoints/sample.txt").read_text("utf-8").split()

# Row, the row that it is compared with, and the goal of the ratio; at least, or for times at most.
GOALS = [
    ("openai base64, texts/s", "batch, texts/s", 0.9),
    ("openai float, texts/s", "batch, texts/s", 0.75),
    ("tei.v1 stream, texts/s", "stream, texts/s", 0.8),
    ("tei.v1 64 callers, texts/s", "64 callers, texts/s", 0.85),
    ("openai query, overhead ms", "query, overhead ms", 1.3),
    ("tei.v1 query, ms", "query, ms", 1 / 0.85),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="mini", help="mini, full or a checkpoint's folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each row of a round")
    parser.add_argument("--stream-texts", type=int, default=2000)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    checkpoint = {"mini": CHECKPOINT, "full": None}.get(args.model, Path(args.model))
    checkpoint = checkpoint or full_checkpoint()
    found: dict[str, list[float]] = {}
    for number in range(args.rounds):
        for server, row, value in one_round(checkpoint, args, number):
            found.setdefault(f"{server}{row}", []).append(value)
        progress(f"round {number + 1} of {args.rounds}")
    rows = {row: statistics.median(values) for row, values in found.items()}
    reached = goals(found)
    print(f"{'row':44}{'median':>10}")
    for row, value in rows.items():
        print(f"{row:44}{value:10.2f}")
    for goal in reached:
        print(f"{goal['goal']:60}{goal['value']:8.2f}{'' if goal['met'] else '  missed'}")
    result = {
        "benchmark": "compatible APIs",
        "model": args.model,
        "rounds": args.rounds,
        "rows": rows,
        "goals": reached,
        "samples": found,
        "environment": environment(),
    }
    if args.output:
        args.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    return 0 if all(goal["met"] for goal in reached) else MISSED


def goals(found: dict[str, list[float]]) -> list[dict[str, Any]]:
    """The medians of the rounds' ratios, beside their goals."""
    made = []
    for row, base, goal in GOALS:
        ratio = statistics.median(a / b for a, b in zip(found[row], found[base], strict=True))
        is_time = row.endswith("ms")
        made.append(
            {
                "goal": f"{row} / {base} {'<=' if is_time else '>='} {goal:.2f}",
                "value": round(ratio, 3),
                "met": ratio <= goal if is_time else ratio >= goal,
            }
        )
    return made


def one_round(
    checkpoint: Path, args: argparse.Namespace, number: int
) -> Iterator[tuple[str, str, float]]:
    """(server, row, value) of every row, the servers in an order that alternates."""
    servers = [("", serving)] + ([("TEI: ", tei_router.serving)] if tei_router.binary() else [])
    for name, start in servers if number % 2 == 0 else reversed(servers):
        with start(checkpoint) as (address, http):
            for row, value in asyncio.run(measure(address, http, args, number)).items():
                yield name, row, value


@contextmanager
def serving(checkpoint: Path) -> Iterator[tuple[str, str]]:
    """gemwire: the addresses of gRPC and of HTTP."""
    http = f"127.0.0.1:{tei_router.free_port()}"
    with server_process(
        checkpoint, "--http-address", http, environ=uninstalled.environment()
    ) as server:
        yield server.address, http


async def measure(
    address: str, http: str, args: argparse.Namespace, number: int
) -> dict[str, float]:
    """The rows of one server; `http` is empty for a server that has tei.v1 alone."""
    seconds = args.seconds
    random_ = random.Random(number)
    short = [sentence(random_, 8, 24) for _ in range(40 * BATCH)]
    query = [sentence(random_, 8, 12) for _ in range(200)]
    mixed = [sentence(random_, 8, 64) if i % 5 else sentence(random_, 200, 400) for i in range(500)]
    streamed = [short[i % len(short)] for i in range(args.stream_texts)]
    rows: dict[str, float] = {}
    async with AsyncExitStack() as stack:
        unary = stack.enter_async_context
        tei_embed = await unary(grpc_unary(address, TEI + "Embed"))
        await rate([tei_embed], [_tei(text) for text in query], 1.0)  # a warm-up
        if http:
            own = await unary(grpc_unary(address, OWN + "Embed"))
            batch = await unary(grpc_unary(address, OWN + "BatchEmbed"))
            compute = await compute_p50(own, query, seconds)
            posts = [await unary(http_post(http, "/v1/embeddings")) for _ in range(BATCH_CALLERS)]
            batches = [short[i : i + BATCH] for i in range(0, len(short), BATCH)]
            for encoding in ("base64", "float"):
                bodies = [_openai(texts, encoding) for texts in batches]
                rows[f"openai {encoding}, texts/s"] = BATCH * await rate(posts, bodies, seconds)
            messages = [_batch(texts) for texts in batches]
            rows["batch, texts/s"] = BATCH * await rate([batch] * BATCH_CALLERS, messages, seconds)
            singles = [_openai(text, "base64") for text in query]
            rows["openai query, ms"] = await p50(posts[0], singles, seconds)
            rows["query, ms"] = await p50(own, [_own(text) for text in query], seconds)
            embeds = [_own(text) for text in mixed]
            rows["64 callers, texts/s"] = await rate([own] * CALLERS, embeds, seconds)
        rows["tei.v1 query, ms"] = await p50(tei_embed, [_tei(text) for text in query], seconds)
        rows["tei.v1 64 callers, texts/s"] = await rate(
            [tei_embed] * CALLERS, [_tei(text) for text in mixed], seconds
        )
    if http:
        for row in ("query", "openai query", "tei.v1 query"):
            rows[f"{row}, overhead ms"] = rows[f"{row}, ms"] - compute
        opening = pb.EmbedStreamRequest(open=pb.StreamOpen()).SerializeToString()
        messages = [opening, *_stream_batches(streamed)]
        taken = await stream(address, OWN + "EmbedStream", messages, _results, len(streamed))
        rows["stream, texts/s"] = len(streamed) / taken
    taken = await stream(
        address, TEI + "EmbedStream", [_tei(t) for t in streamed], lambda _: 1, len(streamed)
    )
    rows["tei.v1 stream, texts/s"] = len(streamed) / taken
    return rows


async def compute_p50(own: Any, texts: list[str], seconds: float) -> float:
    """The median time of the engine's step for one text, in milliseconds."""
    options = pb.EmbedOptions(include_timing=True)
    requests = [
        pb.EmbedRequest(input=pb.EmbedInput(text=text), options=options).SerializeToString()
        for text in texts
    ]
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        answer = await own(requests[len(times) % len(requests)])
        timing = pb.EmbedResponse.FromString(answer).timing
        times.append(timing.compute.ToTimedelta().total_seconds())
    return 1e3 * statistics.median(times)


def sentence(random_: random.Random, least: int, most: int) -> str:
    return " ".join(random_.choices(WORDS, k=random_.randint(least, most)))


def _openai(texts: str | list[str], encoding: str) -> bytes:
    return json.dumps({"input": texts, "encoding_format": encoding, "model": ""}).encode()


def _own(text: str) -> bytes:
    return pb.EmbedRequest(input=pb.EmbedInput(text=text)).SerializeToString()


def _batch(texts: list[str]) -> bytes:
    inputs = [pb.EmbedInput(text=text) for text in texts]
    return pb.BatchEmbedRequest(inputs=inputs).SerializeToString()


def _tei(text: str) -> bytes:
    return tei.EmbedRequest(inputs=text).SerializeToString()


def _stream_batches(texts: list[str]) -> list[bytes]:
    return [
        pb.EmbedStreamRequest(
            batch=pb.StreamBatch(
                first_id=i, inputs=[pb.EmbedInput(text=text) for text in texts[i : i + BATCH]]
            )
        ).SerializeToString()
        for i in range(0, len(texts), BATCH)
    ]


def _results(message: bytes) -> int:
    return pb.EmbedStreamResponse.FromString(message).results.granted_inputs


if __name__ == "__main__":
    sys.exit(main())
