"""gemwire bench: load on a server, and what it does under it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemwire_server.cli.common import (
    Parser,
    Subparsers,
    add_remote_flags,
    check_server_flags,
)
from gemwire_server.config import ServerConfig, add_flags
from gemwire_server.config_sources import ConfigError

if TYPE_CHECKING:
    from gemwire_bench.mix import TrafficClass

SLO_MISSED, INVALID = 3, 4
LEAST_CALLS = 10  # of a sweep's lowest step
MODES = ("unary", "batch", "stream")


def add_parser(subparsers: Subparsers) -> Parser:
    parser = subparsers.add_parser(
        "bench",
        help="put load on a server and measure it",
        description="Sends calls by a schedule made beforehand, whatever the server does, and measures "
        "each from when it was due. Exit code 3: an SLO was missed; 4: the result is not valid.",
        epilog="Arrivals: poisson, constant, gamma:CV, bursts:ON:OFF, ramp:FROM:TO, trace:FILE. Lengths: "
        "N, uniform:LOW:HIGH, lognormal:MEDIAN:SIGMA, file:PATH, or a mixture: "
        "0.8*uniform:8:32+0.2*uniform:200:512.",
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", metavar="compare | report")
    _add_compare(actions)
    _add_report(actions)
    parser.add_argument("--server", metavar="ADDRESS", help="host:port or unix:/path")
    parser.add_argument(
        "--in-process",
        action="store_true",
        help="the engine alone, in the sending process, for --model: token ids in, no server",
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
        "--rate", type=float, default=10.0, help="calls a second, of a sweep its first (default 10)"
    )
    how.add_argument(
        "--sweep", action="store_true", help="search for the highest rate, from --rate"
    )
    how.add_argument(
        "--callers",
        type=int,
        metavar="N",
        default=0,
        help="closed loop: N callers, each with one call at a time; for the ceiling, not for latency",
    )
    group.add_argument(
        "--growth", type=float, default=1.6, help="--sweep: the factor of its steps (default 1.6)"
    )
    group.add_argument(
        "--bisections", type=int, default=4, help="--sweep: halvings at the end (default 4)"
    )
    group.add_argument("--seconds", type=float, default=10.0, help="measured, of each step")
    group.add_argument(
        "--warm-up", type=float, default=2.0, help="seconds before that, not measured"
    )
    group.add_argument("--seed", type=int, default=0, help="of schedule and texts")
    group.add_argument("--workers", type=int, default=1, help="processes that send (default 1)")
    group.add_argument("--connections", type=int, default=1, help="of each worker (default 1)")
    group.add_argument(
        "--slo", action="append", default=[], metavar="P=T", help="like p99=50ms or CLASS:p99=50ms"
    )


def _add_traffic(parser: Parser) -> None:
    group = parser.add_argument_group("of what")
    group.add_argument("--mode", choices=MODES, default="unary")
    group.add_argument("--arrivals", default="poisson", help="when calls come (default poisson)")
    group.add_argument("--tokens", default="64", help="of a text, without its prompt (default 64)")
    group.add_argument("--texts", help="of a call or a stream's message (default 1; batch: 32)")
    group.add_argument("--task", help="of the texts, like retrieval_query")
    group.add_argument(
        "--deadline", type=float, default=10.0, metavar="SECONDS", help="of a call (default 10)"
    )
    group.add_argument(
        "--corpus", type=Path, metavar="FILE", help="make texts of this, not of vocabulary"
    )
    group.add_argument(
        "--lines", metavar="FILE", help="send whole lines of this; --tokens is not used"
    )
    group.add_argument(
        "--class",
        action="append",
        default=[],
        dest="mix",
        metavar="'NAME KEY=VALUE …'",
        help="one of several classes of one run: mode, share (of the rate), arrivals, tokens, texts, task, "
        "deadline, priority, lines; what it does not say is as in the flags",
    )


def _add_output(parser: Parser) -> None:
    group = parser.add_argument_group("what comes out")
    group.add_argument("-o", "--output", type=Path, metavar="FILE", help="the result, as JSON")
    group.add_argument("--html", type=Path, metavar="FILE", help="a report in one file")
    group.add_argument("--png", type=Path, metavar="FILE", help="the curves")
    group.add_argument("--label", default="", help="a name for the result, in reports")
    group.add_argument("--golden", type=Path, metavar="FILE", help="right vectors to compare with")
    group.add_argument(
        "--write-golden", type=Path, metavar="FILE", help="ask for golden vectors, write them, end"
    )


def _add_compare(actions: Any) -> None:
    parser = actions.add_parser(
        "compare",
        help="two results, with intervals",
        description="Compares two results, step by step of equal rate, with 95 %% bootstrap intervals.",
        allow_abbrev=False,
    )
    parser.add_argument("before", type=Path, help="a result's JSON")
    parser.add_argument("after", type=Path, help="another's")


def _add_report(actions: Any) -> None:
    parser = actions.add_parser(
        "report",
        help="results as HTML or PNG",
        description="Draws one result or several together.",
        allow_abbrev=False,
    )
    parser.add_argument("results", type=Path, nargs="+", help="JSON of gemwire bench")
    parser.add_argument("--html", type=Path, metavar="FILE", help="a report in one file")
    parser.add_argument("--png", type=Path, metavar="FILE", help="the curves")


def run(args: argparse.Namespace) -> int:
    if args.action == "compare":
        return _compare(args)
    if args.action == "report":
        return _report(args)
    if args.in_process == (args.server is not None):
        raise ConfigError("give --server ADDRESS, or --in-process and --model")
    if not args.in_process:
        check_server_flags(args)
    return _measure(args)


def _compare(args: argparse.Namespace) -> int:
    from gemwire_bench import compare, result

    print(compare.table(compare.compare(result.read(args.before), result.read(args.after))))
    return 0


def _report(args: argparse.Namespace) -> int:
    from gemwire_bench import report, result

    if not (args.html or args.png):
        raise ConfigError("give --html FILE or --png FILE")
    report.write([result.read(path) for path in args.results], page=args.html, png=args.png)
    return 0


def classes(args: argparse.Namespace) -> "tuple[TrafficClass, ...]":
    """The classes of traffic; ConfigError for what cannot be."""
    from gemwire_bench.mix import TrafficClass, parse_class

    texts = args.texts or ("32" if args.mode == "batch" else "1")
    try:
        base = TrafficClass(
            mode=args.mode,
            arrivals=args.arrivals,
            tokens=args.tokens,
            texts=texts,
            task=args.task,
            deadline=args.deadline,
            lines=args.lines,
        )
        mix = tuple(parse_class(spec, base) for spec in args.mix) or (base,)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    names = [one.name for one in mix]
    if len(set(names)) < len(names):
        raise ConfigError("every --class has a name of its own")
    return mix


def _measure(args: argparse.Namespace) -> int:
    import os

    from gemwire_bench import measure, report, result, session, slo
    from gemwire_bench.run import Plan
    from gemwire_bench.sweep import Sweep

    mix = classes(args)
    try:
        slos = tuple(slo.parse(spec) for spec in args.slo)
        sweep = None
        if args.sweep:
            lowest = LEAST_CALLS / args.seconds
            sweep = Sweep(args.rate, args.growth, args.bisections, lowest=lowest)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    known = {one.name for one in mix}
    for one in slos:
        if one.traffic not in (None, *known):
            raise ConfigError(f"--slo {one}: there is no class {one.traffic!r}")
    if args.workers < 1 or args.connections < 1 or args.callers < 0:
        raise ConfigError("--workers and --connections are at least 1, --callers at least 0")
    plan = Plan(mix, args.rate, args.seconds, args.warm_up, args.seed, args.callers)
    measurement = measure.Measurement(plan, slos, sweep)
    found: dict[str, Any] | None
    if args.in_process:
        found = session.in_process(measurement, ServerConfig.load(args, os.environ), args.label)
    else:
        found = session.on_server(
            measurement,
            _target(args),
            corpus=args.corpus,
            golden=args.golden,
            write_golden=args.write_golden,
            workers=args.workers,
            connections=args.connections,
            label=args.label,
        )
    if found is None:
        return 0
    if args.output:
        result.write(found, args.output)
    if args.html or args.png:
        report.write([found], page=args.html, png=args.png)
    print(report.text(found))
    if not found["valid"]:
        return INVALID
    return 0 if result.slo_met(found) else SLO_MISSED


def _target(args: argparse.Namespace) -> Any:
    from gemwire_bench.target import Target
    from gemwire_server.cli import remote

    given = remote.files(args)
    return Target(args.server, tls=args.tls, **given)
