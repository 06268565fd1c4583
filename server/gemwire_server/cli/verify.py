"""gemwire verify: compares this engine's vectors with the reference's, on this machine."""

import argparse
import os

from gemwire_server.cli.common import MODEL_FLAGS, Parser, Subparsers
from gemwire_server.cli.values import readable_path
from gemwire_server.config.options import ServerConfig, add_flags


def add_parser(subparsers: Subparsers) -> Parser:
    parser = subparsers.add_parser(
        "verify",
        help="compare the engine with the reference model",
        description="Embeds texts with this engine and with transformers, and prints how far apart "
        "the vectors are. Exits with 1 if the engine is less exact than promised.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--texts",
        type=readable_path,
        metavar="FILE",
        help="a file with one text a line; default: texts of every length that come with gemwire",
    )
    parser.add_argument(
        "--against",
        choices=("fp32", "bf16"),
        default="fp32",
        help="the precision of the reference (default: fp32)",
    )
    # The options of the engine as a server runs it; verify needs no address and no limits.
    add_flags(parser, MODEL_FLAGS)
    return parser


def run(args: argparse.Namespace) -> int:
    config = ServerConfig.load(args, os.environ)
    from gemwire_server import verify

    return verify.run(config, args.texts, args.against)
