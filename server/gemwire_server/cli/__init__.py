"""The command line: one file a command.

A command imports what is heavy (torch, grpc, pyarrow) inside its run(), so that --help is quick
and a base install has the commands that need no more than it has.
"""

import os
import sys
from collections.abc import Sequence

from gemwire_server import __version__, streams
from gemwire_server.cli import (
    bench,
    embed,
    info,
    make_checkpoint,
    serve,
    token,
    tokenize,
    tune,
    verify,
)
from gemwire_server.cli.common import Parser
from gemwire_server.config.sources import ConfigError
from gemwire_server.errors import CheckpointError, DeviceError, GemwireError, StartError

COMMANDS = (serve, embed, tokenize, info, bench, make_checkpoint, verify, tune, token)
# The extra that a missing package comes with.
EXTRAS = {
    "google": "",
    "grpc": "",
    "hdrh": "bench",
    "matplotlib": "bench",
    "numpy": "",
    "pyarrow": "cli",
    "rich": "cli",
    "sentence_transformers": "verify",
    "transformers": "verify",
    "grpc_health": "server",
    "grpc_reflection": "server",
    "huggingface_hub": "server",
    "opentelemetry": "traces",
    "prometheus_client": "server",
    "safetensors": "server",
    "sentencepiece": "server",
    "tokenizers": "server",
    "torch": "server",
    "triton": "server",
    "uvloop": "server",
}
FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns its exit code: 0, 1 if it failed, 2 if it was called wrongly."""
    streams.hold_closed()
    # Its documented default. Left out, gRPC writes a line to stderr whenever a client ends a connection
    # with a code, as Node.js does: not in the log's format, and at any --log-level.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        return _run(argv)
    finally:
        streams.settle()


def _run(argv: Sequence[str] | None) -> int:
    args = make_parser().parse_args(argv)
    try:
        code = int(args.run(args))
        sys.stdout.flush()  # here, where a failure is reported
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED  # the reader has seen enough
    except ConfigError as error:
        return _fail(str(error), USAGE)
    except ModuleNotFoundError as error:
        root = (error.name or "").partition(".")[0]
        if root not in EXTRAS:
            raise
        package = f"gemwire[{EXTRAS[root]}]" if EXTRAS[root] else "gemwire"
        return _fail(f"this needs {root}, which is not installed: pip install '{package}'", FAILED)
    except (GemwireError, CheckpointError, DeviceError, StartError, ValueError, OSError) as error:
        return _fail(_one_line(error), FAILED)
    except Exception as error:
        if not _of_client(error):
            raise
        return _fail(_one_line(error), FAILED)


def make_parser() -> Parser:
    """The parser of all commands; each command sets `run`."""
    parser = Parser(prog="gemwire", description="EmbeddingGemma over gRPC.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"gemwire {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers).set_defaults(run=command.run)
    return parser


def _of_client(error: Exception) -> bool:
    """Whether the client library raised the error; it did not if it was never imported."""
    client = sys.modules.get("gemwire_client")
    return client is not None and isinstance(error, client.GemwireError)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"
    # A command adds a note with the place of the text.
    said = ": ".join([*getattr(error, "__notes__", ()), str(error) or type(error).__name__])
    return " ".join(said.split())


def _fail(message: str, code: int) -> int:
    print(f"gemwire: {message}", file=sys.stderr)
    return code
