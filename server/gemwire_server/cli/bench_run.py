"""Runs gemwire bench: makes a measurement of its flags, runs it, prints and writes the result."""

import argparse
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from gemwire_bench import lengths, report, result, schedule, session, slo
from gemwire_bench.measure import Measurement
from gemwire_bench.mix import TrafficClass, parse_class
from gemwire_bench.run import Plan
from gemwire_bench.slo import Slo
from gemwire_bench.sweep import Sweep
from gemwire_bench.target import Target
from gemwire_server.cli import remote
from gemwire_server.cli.files import replacing
from gemwire_server.cli.signals import ending_signals
from gemwire_server.config.options import ServerConfig
from gemwire_server.config.sources import ConfigError

SLO_MISSED, INVALID = 3, 4
LEAST_CALLS = 10  # of a sweep's lowest step
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outputs:
    """Files that take their places once they are whole; None for those that no flag names."""

    output: IO[bytes] | None
    html: IO[bytes] | None
    png: IO[bytes] | None
    golden: IO[bytes] | None

    @classmethod
    def open(cls, args: argparse.Namespace, stack: ExitStack) -> "Outputs":
        """Opens the files now, so that a file that cannot be written is refused before the measurement."""
        names = ("output", "html", "png", "write_golden")
        paths = [vars(args).get(name) for name in names]
        given = [path.resolve() for path in paths if path is not None]
        if len(set(given)) < len(given):
            raise ConfigError("every output takes a file of its own")
        if vars(args).get("write_golden") and len(given) > 1:
            raise ConfigError("--write-golden measures nothing, so that it has no other output")
        return cls(*(path and stack.enter_context(replacing(path)) for path in paths))


def draw(results: list[dict[str, Any]], outputs: Outputs) -> None:
    if outputs.html is not None:
        outputs.html.write(report.as_html(results).encode())
    if outputs.png is not None:
        outputs.png.write(report.picture(results, "png"))


def classes(args: argparse.Namespace) -> tuple[TrafficClass, ...]:
    """The classes of traffic. Raises ConfigError, which names the flag."""
    texts = args.texts or ("32" if args.mode == "batch" else "1")
    _parsed("--tokens", lengths.parse, args.tokens)
    _parsed("--texts", lengths.parse, texts)
    _parsed("--arrivals", schedule.check_arrivals, args.arrivals)
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
    except ValueError as error:
        raise ConfigError(str(error)) from None
    mix = tuple(_parsed("--class", parse_class, spec, base) for spec in args.mix) or (base,)
    for one in mix:
        _parsed(f"--class {one.name}", schedule.check_arrivals, one.arrivals)
        if one.lines is not None:
            _parsed(f"--class {one.name}", os.stat, one.lines)
    names = [one.name for one in mix]
    if len(set(names)) < len(names):
        raise ConfigError("every --class has a name of its own")
    return mix


def _parsed(flag: str, parse: Callable[..., T], *given: Any) -> T:
    """Parses the value of a flag. Raises ConfigError, which names the flag."""
    try:
        return parse(*given)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from None
    except OSError as error:
        raise ConfigError(f"{flag}: {error.filename}: {error.strerror}") from None


def _slos(args: argparse.Namespace, mix: tuple[TrafficClass, ...]) -> tuple[Slo, ...]:
    slos = tuple(_parsed("--slo", slo.parse, spec) for spec in args.slo)
    known = {one.name for one in mix}
    for one in slos:
        if one.traffic not in (None, *known):
            raise ConfigError(f"--slo {one}: there is no class {one.traffic!r}")
    return slos


def measure(args: argparse.Namespace) -> int:
    """Runs the measurement; returns the exit code."""
    mix = classes(args)
    slos = _slos(args, mix)
    plan = Plan(mix, args.rate, args.seconds, args.warm_up, args.seed, args.callers)
    _parsed("--rate, --seconds, --arrivals", plan.schedule)
    sweep = None
    if args.sweep:
        lowest = LEAST_CALLS / args.seconds
        sweep = Sweep(args.rate, args.growth, args.bisections, lowest=lowest)
    with ending_signals(), ExitStack() as stack:
        outputs = Outputs.open(args, stack)
        found = _result(args, Measurement(plan, slos, sweep), outputs)
        if found is None:
            return 0
        if outputs.output is not None:
            outputs.output.write(result.to_json(found).encode())
        draw([found], outputs)
    print(report.text(found))
    if not found["valid"]:
        return INVALID
    return 0 if result.slo_met(found) else SLO_MISSED


def _result(
    args: argparse.Namespace, measurement: Measurement, outputs: Outputs
) -> dict[str, Any] | None:
    """The result; None if only a golden sample was to be written."""
    if args.in_process:
        config = ServerConfig.load(args, os.environ)
        from gemwire_server.cli import bench_in_process  # torch, which only this mode needs

        return session.in_process(
            measurement, bench_in_process.main, config, args.seed, label=args.label
        )
    return session.on_server(
        measurement,
        Target(args.server, tls=args.tls, **remote.files(args)),
        corpus=args.corpus,
        golden=args.golden,
        write_golden=outputs.golden,
        workers=args.workers,
        connections=args.connections,
        label=args.label,
    )
