"""gemwire serve: runs the server."""

import argparse
import os

from gemwire_server.cli.common import Parser, Subparsers
from gemwire_server.config.options import ServerConfig, add_flags


def add_parser(subparsers: Subparsers) -> Parser:
    parser = subparsers.add_parser(
        "serve",
        help="serve a checkpoint until SIGTERM",
        description="Serves a checkpoint until SIGTERM or Ctrl-C, then answers what it has accepted.",
        allow_abbrev=False,
    )
    add_flags(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    config = ServerConfig.load(args, os.environ)
    from gemwire_server.serving import serve

    return serve(config)
