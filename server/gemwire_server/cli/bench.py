"""gemwire bench: puts load on a server and measures it."""

import argparse
from contextlib import ExitStack
from typing import Any

from gemwire_server.cli.common import (
    Parser,
    Subparsers,
    add_remote_flags,
    check_server_flags,
)
from gemwire_server.cli.values import (
    name,
    number,
    readable,
    readable_path,
    server,
    text,
    whole,
    writable_path,
)
from gemwire_server.config.options import add_flags
from gemwire_server.config.sources import ConfigError
from gemwire_server.text.prompts import TASKS

DAY = 86400.0
SERVERS_ONLY = (
    "corpus", "lines", "golden", "write_golden",
    "tls", "tls_ca", "client_cert", "client_key", "token_file",
)  # fmt: skip
MODES = ("unary", "batch", "stream")


def add_parser(subparsers: Subparsers) -> Parser:
    parser = subparsers.add_parser(
        "bench",
        help="put load on a server and measure it",
        description="Sends calls by a schedule that is made beforehand, however slow the server is, and "
        "measures each call from the time it was due. Exit code 3: an SLO was missed; 4: the result is not "
        "valid.",
        epilog="Arrivals: poisson, constant, gamma:CV, bursts:ON:OFF, ramp:FROM:TO, trace:FILE. Lengths: "
        "N, uniform:LOW:HIGH, lognormal:MEDIAN:SIGMA, file:PATH, or a mixture: "
        "0.8*uniform:8:32+0.2*uniform:200:512.",
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", metavar="compare | report")
    _add_compare(actions)
    _add_report(actions)
    parser.add_argument("--server", type=server, metavar="ADDRESS", help="host:port or unix:/path")
    parser.add_argument(
        "--in-process",
        action="store_true",
        help="measure the engine of --model alone, in the sending process: token ids in, no server",
    )
    _add_load(parser)
    _add_traffic(parser)
    _add_output(parser)
    add_remote_flags(parser)
    add_flags(
        parser, ("model", "revision", "sliding_window", "dtype", "device", "weights", "threads")
    )
    return parser


def _add_load(parser: Parser) -> None:
    group = parser.add_argument_group("how much")
    how = group.add_mutually_exclusive_group()
    group.add_argument(
        "--rate",
        type=number(0, 1e6, above=True),
        default=10.0,
        help="calls a second; with --sweep the first rate (default 10)",
    )
    how.add_argument(
        "--sweep", action="store_true", help="search for the highest rate, from --rate"
    )
    how.add_argument(
        "--callers",
        type=whole(0, 65536),
        metavar="N",
        default=0,
        help="closed loop: N callers, each with one call at a time; it shows the ceiling, not the latency",
    )
    group.add_argument(
        "--growth",
        type=number(1, 100, above=True),
        default=1.6,
        help="--sweep: the factor from one rate to the next (default 1.6)",
    )
    group.add_argument(
        "--bisections",
        type=whole(0, 64),
        default=4,
        help="--sweep: how often the last interval is halved (default 4)",
    )
    group.add_argument(
        "--seconds",
        type=number(0.1, DAY),
        default=10.0,
        help="measured seconds of each step (default 10)",
    )
    group.add_argument(
        "--warm-up",
        type=number(0, DAY),
        default=2.0,
        help="seconds before that, which are not measured (default 2)",
    )
    group.add_argument(
        "--seed",
        type=whole(0, 2**63 - 1),
        default=0,
        help="seed of the schedule and the texts (default 0)",
    )
    group.add_argument(
        "--workers", type=whole(1, 256), default=1, help="processes that send (default 1)"
    )
    group.add_argument(
        "--connections",
        type=whole(1, 4096),
        default=1,
        help="connections of each worker (default 1)",
    )
    group.add_argument(
        "--slo",
        action="append",
        default=[],
        metavar="P=T",
        help="a latency goal, such as p99=50ms or CLASS:p99=50ms",
    )


def _add_traffic(parser: Parser) -> None:
    group = parser.add_argument_group("what is sent")
    group.add_argument(
        "--mode", choices=MODES, default="unary", help="which RPC is called (default unary)"
    )
    group.add_argument("--arrivals", default="poisson", help="how calls arrive (default poisson)")
    group.add_argument(
        "--tokens", default="64", help="tokens of a text without its prompt (default 64)"
    )
    group.add_argument(
        "--texts", type=name, help="texts of a call or of a stream's message (default 1; batch: 32)"
    )
    group.add_argument(
        "--task",
        choices=TASKS,
        metavar="TASK",
        help="the task of the texts, such as retrieval_query",
    )
    group.add_argument(
        "--deadline",
        type=number(0, 60, above=True),
        default=10.0,
        metavar="SECONDS",
        help="deadline of a call (default 10)",
    )
    group.add_argument(
        "--corpus",
        type=readable_path,
        metavar="FILE",
        help="make texts from this file instead of from the vocabulary",
    )
    group.add_argument(
        "--lines",
        type=readable,
        metavar="FILE",
        help="send whole lines of this file; --tokens has no effect then",
    )
    group.add_argument(
        "--class",
        action="append",
        default=[],
        dest="mix",
        metavar="'NAME KEY=VALUE …'",
        help="one of several classes of one run, with the keys mode, share (of the rate), arrivals, "
        "tokens, texts, task, deadline, priority and lines; the flags give the keys that are left out",
    )


def _add_output(parser: Parser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o", "--output", type=writable_path, metavar="FILE", help="write the result as JSON"
    )
    group.add_argument(
        "--html", type=writable_path, metavar="FILE", help="write a report as one file"
    )
    group.add_argument("--png", type=writable_path, metavar="FILE", help="draw the curves")
    group.add_argument("--label", type=text, default="", help="name of the result in reports")
    group.add_argument(
        "--golden",
        type=readable_path,
        metavar="FILE",
        help="compare with the right vectors in this file",
    )
    group.add_argument(
        "--write-golden",
        type=writable_path,
        metavar="FILE",
        help="ask the server for golden vectors, write them, and end",
    )


def _add_compare(actions: Any) -> None:
    parser = actions.add_parser(
        "compare",
        help="compare two results",
        description="Compares two results, step by step of equal rate, with 95 %% bootstrap intervals.",
        allow_abbrev=False,
    )
    parser.add_argument("before", type=readable_path, help="a result's JSON")
    parser.add_argument("after", type=readable_path, help="another result's JSON")


def _add_report(actions: Any) -> None:
    parser = actions.add_parser(
        "report",
        help="draw results as HTML or PNG",
        description="Draws one result or several together.",
        allow_abbrev=False,
    )
    parser.add_argument("results", type=readable_path, nargs="+", help="JSON of gemwire bench")
    parser.add_argument(
        "--html", type=writable_path, metavar="FILE", help="write a report as one file"
    )
    parser.add_argument("--png", type=writable_path, metavar="FILE", help="draw the curves")


def run(args: argparse.Namespace) -> int:
    if args.action == "compare":
        return _compare(args)
    if args.action == "report":
        return _report(args)
    if args.in_process == (args.server is not None):
        raise ConfigError("give --server ADDRESS, or --in-process and --model")
    if args.in_process:
        _check_in_process(args)
    else:
        check_server_flags(args)
    from gemwire_server.cli.bench_run import measure

    return measure(args)


def _check_in_process(args: argparse.Namespace) -> None:
    """Refuses flags without effect: the engine takes token ids, and no server is asked for vectors."""
    for option in SERVERS_ONLY:
        if getattr(args, option):
            flag = "--" + {"client_cert": "tls_cert", "client_key": "tls_key"}.get(option, option)
            raise ConfigError(f"{flag.replace('_', '-')} is for a server, not for --in-process")
    for option in ("workers", "connections"):
        if getattr(args, option) != 1:
            raise ConfigError(f"--{option} is for a server: --in-process has one sender")


def _compare(args: argparse.Namespace) -> int:
    from gemwire_bench import compare, result

    print(compare.table(compare.compare(result.read(args.before), result.read(args.after))))
    return 0


def _report(args: argparse.Namespace) -> int:
    if not (args.html or args.png):
        raise ConfigError("give --html FILE or --png FILE")
    from gemwire_bench import result
    from gemwire_server.cli.bench_run import Outputs, draw

    results = [result.read(path) for path in args.results]
    with ExitStack() as stack:
        draw(results, Outputs.open(args, stack))
    return 0
