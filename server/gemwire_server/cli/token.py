"""gemwire token: makes a bearer token and its line for the tokens file."""

import argparse
import sys

from gemwire_server.cli.common import Parser, Subparsers
from gemwire_server.cli.values import whole
from gemwire_server.config.sources import ConfigError

MOST_TOKENS = 10**12 - 1


def add_parser(subparsers: Subparsers) -> Parser:
    parser = subparsers.add_parser(
        "token",
        help="make a bearer token",
        description="Prints a new random token, which gemwire stores nowhere, and below it the line for "
        "the file of `gemwire serve --tokens-file`.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        help="name of the caller; tokens of the same name share one quota and one share of the queue",
    )
    parser.add_argument(
        "--rate",
        type=whole(1, MOST_TOKENS),
        metavar="N",
        help="quota of the caller in model tokens a second (default: none)",
    )
    parser.add_argument(
        "--burst",
        type=whole(1, MOST_TOKENS),
        metavar="N",
        help="most tokens of the quota that may be used at once (default: one second's)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    if args.burst is not None and args.rate is None:
        raise ConfigError("--burst goes with --rate")
    from gemwire_server.security.tokens import make

    token, line = make(args.name, args.rate or 0, args.burst or 0)
    print(token)
    print(line)
    if sys.stdout.isatty():
        print("the first line is for the caller, the second for --tokens-file", file=sys.stderr)
    return 0
