"""Flags that several commands have, and the server they ask."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from gemwire_server.config import ServerConfig, add_flags
from gemwire_server.config_sources import ConfigError
from gemwire_server.prompts import TASKS

Parser = argparse.ArgumentParser
if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[Parser]
else:
    Subparsers = argparse._SubParsersAction

MODEL_FLAGS = (
    "model", "revision", "dtype", "device", "weights", "threads", "cuda_graphs", "residual",
    "deterministic", "tile_table",
)  # fmt: skip
DEFAULTS: dict[str, Any] = {option.name: option.default for option in fields(ServerConfig)}


def add_server_flags(parser: Parser) -> None:
    """Adds --server, and what a server in this process needs."""
    parser.add_argument(
        "--server",
        metavar="ADDRESS",
        help="ask this server (host:port or unix:/path); without it one runs in this process, for "
        "--model",
    )
    add_flags(parser, MODEL_FLAGS)


def add_prompt_flags(parser: Parser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--task",
        choices=TASKS,
        metavar="TASK",
        help=f"what the vectors are for, which picks the prompt: {', '.join(TASKS)}; default: the "
        "server's default",
    )
    group.add_argument("--prompt-name", metavar="NAME", help="a prompt of the model's own table")
    group.add_argument("--prompt", metavar="TEXT", help="put before each text as it is")


def check_server_flags(args: argparse.Namespace) -> None:
    given = [name for name in MODEL_FLAGS if name in vars(args)]
    if args.server is not None and given:
        raise ConfigError(f"--server and --{given[0]} exclude each other: a server has its model")


def load_config(args: argparse.Namespace) -> ServerConfig:
    """The configuration of a command that could ask a server just as well."""
    try:
        return ServerConfig.load(args, os.environ)
    except ConfigError as error:
        if "model" in error.names:
            raise ConfigError(f"{error}; or name a running server: --server ADDRESS") from None
        raise


@contextmanager
def server_address(args: argparse.Namespace) -> Iterator[str]:
    """The address of --server, or of a server that runs in this process for as long."""
    if args.server is not None:
        yield args.server
        return
    config = load_config(args)
    from gemwire_server.app import background_server

    # GEMWIRE_ADDRESS is for the server people run; the default is a private socket here.
    with background_server(replace(config, address=DEFAULTS["address"])) as address:
        yield address
