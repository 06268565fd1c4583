"""Flags that several commands share, and the server that those commands ask."""

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Never

from gemwire_server.cli.values import name, readable, server, text
from gemwire_server.config.options import ServerConfig, add_flags
from gemwire_server.config.sources import ConfigError, flag
from gemwire_server.text.prompts import TASKS

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction["Parser"]
else:
    Subparsers = argparse._SubParsersAction

MODEL_FLAGS = (
    "model", "revision", "sliding_window", "dtype", "device", "weights", "threads", "cuda_graphs",
    "residual", "deterministic", "tile_table",
)  # fmt: skip
ACCESS_OPTIONS = (
    "address", "admin_address", "metrics_address", "tls_cert", "tls_key", "tls_client_ca",
    "tokens_file",
)  # fmt: skip
DEFAULTS: dict[str, Any] = {option.name: option.default for option in fields(ServerConfig)}


class Parser(argparse.ArgumentParser):
    """Reports a wrong call in one line, which names the command that shows help."""

    def error(self, message: str) -> Never:
        said = re.sub(r"^argument ([^:]+): (is )?", _named, " ".join(message.split()))
        self.exit(2, f"gemwire: {said} (see {self.prog} --help)\n")


def _named(found: re.Match[str]) -> str:
    return f"{found[1]} is " if found[2] else f"{found[1]}: "


def add_server_flags(parser: Parser) -> None:
    """Adds --server, and the flags of a server in this process."""
    parser.add_argument(
        "--server",
        type=server,
        metavar="ADDRESS",
        help="ask this server (host:port or unix:/path); without this flag a server of --model runs in "
        "this process",
    )
    add_flags(parser, MODEL_FLAGS)


def add_remote_flags(parser: Parser) -> None:
    """Adds the flags for a --server that asks for TLS or a token."""
    group = parser.add_argument_group("for --server")
    group.add_argument(
        "--tls",
        action="store_true",
        help="use TLS; a public authority has signed the server's certificate",
    )
    group.add_argument(
        "--tls-ca",
        type=readable,
        metavar="FILE",
        help="use TLS; an authority of this PEM file has signed the server's certificate",
    )
    group.add_argument(
        "--tls-cert",
        dest="client_cert",
        type=readable,
        metavar="FILE",
        help="the client's certificate to show, in PEM",
    )
    group.add_argument(
        "--tls-key",
        dest="client_key",
        type=readable,
        metavar="FILE",
        help="the key of that certificate, in PEM",
    )
    group.add_argument(
        "--token-file",
        type=readable,
        metavar="FILE",
        help="a file that holds the token and nothing else",
    )


def add_prompt_flags(parser: Parser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--task",
        choices=TASKS,
        metavar="TASK",
        help=f"the task of the vectors, which picks the prompt: {', '.join(TASKS)}; default: the server's "
        "default",
    )
    group.add_argument(
        "--prompt-name", type=name, metavar="NAME", help="use this prompt of the model's own table"
    )
    group.add_argument(
        "--prompt", type=text, metavar="TEXT", help="put this before each text, unchanged"
    )


def check_server_flags(args: argparse.Namespace) -> None:
    given = [option for option in (*MODEL_FLAGS, "config") if option in vars(args)]
    if args.server is not None and given:
        raise ConfigError(
            f"--server and {flag(given[0])} exclude each other: a server has its model"
        )
    if (args.client_cert is None) != (args.client_key is None):
        raise ConfigError("--tls-cert and --tls-key go together: a certificate and its key")
    remote = ("tls", "tls_ca", "client_cert", "token_file")
    if args.server is None and any(getattr(args, option) for option in remote):
        raise ConfigError("TLS and tokens are for a server: give --server ADDRESS")


def load_config(args: argparse.Namespace) -> ServerConfig:
    """The configuration of a command that could ask a server instead; ConfigError suggests --server."""
    try:
        return ServerConfig.load(args, os.environ)
    except ConfigError as error:
        if "model" in error.names:
            raise ConfigError(f"{error}; or name a running server: --server ADDRESS") from None
        raise


@contextmanager
def server_address(args: argparse.Namespace) -> Iterator[str]:
    """The address of --server, or of a server that runs in this process until the block ends."""
    if args.server is not None:
        yield args.server
        return
    config = load_config(args)
    from gemwire_server.processes.single import background_server

    # GEMWIRE_ADDRESS and the like are for the server people run; here it is a private socket.
    private = replace(config, **{option: DEFAULTS[option] for option in ACCESS_OPTIONS})
    with background_server(private) as address:
        yield address
