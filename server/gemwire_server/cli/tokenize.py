"""gemwire tokenize: prints the token ids that the model gets."""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence

from gemwire_server.cli.common import (
    Parser,
    Subparsers,
    add_prompt_flags,
    add_remote_flags,
    check_server_flags,
    load_config,
)
from gemwire_server.cli.values import server, text
from gemwire_server.config.options import add_flags
from gemwire_server.streams import standard_input

# Ids, pieces, and whether they are more than the model's window.
Tokens = tuple[Sequence[int], Sequence[str], bool]


def add_parser(subparsers: Subparsers) -> Parser:
    parser = subparsers.add_parser(
        "tokenize",
        help="show the token ids of texts",
        description="Prints the token ids that the model gets, with prompt and special tokens, and their "
        "pieces: one JSON object a line for each text.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "texts",
        metavar="TEXT",
        nargs="+",
        type=text,
        help="a text; a single - reads one text from each line of standard input",
    )
    parser.add_argument(
        "--server", type=server, metavar="ADDRESS", help="host:port or unix:/path of a server"
    )
    add_remote_flags(parser)
    add_prompt_flags(parser)
    add_flags(parser, ("model", "revision", "sliding_window"))
    return parser


def run(args: argparse.Namespace) -> int:
    check_server_flags(args)
    if args.server is None:
        return _print_all(args, _local(args))
    from gemwire_server.cli import remote

    with remote.Tokenizer(args.server, args) as tokenizer:
        return _print_all(args, tokenizer)


def _print_all(args: argparse.Namespace, tokenize: Callable[[str], Tokens]) -> int:
    for where, given in _texts(args.texts):
        try:
            ids, pieces, over_limit = tokenize(given)
        except Exception as error:
            error.add_note(where)
            raise
        line = {"ids": list(ids), "pieces": list(pieces), "over_limit": over_limit}
        print(json.dumps(line, ensure_ascii=False))
    return 0


def _texts(given: Sequence[str]) -> Iterator[tuple[str, str]]:
    if list(given) != ["-"]:
        yield from ((f"text {number}", one) for number, one in enumerate(given, 1))
        return
    for number, line in enumerate(standard_input(), 1):
        where = f"line {number}"
        try:
            yield where, line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{where}: not UTF-8 at byte {error.start + 1}") from None


def _local(args: argparse.Namespace) -> Callable[[str], Tokens]:
    """Tokenizes by the checkpoint's own tokenizer; its weights are not read."""
    config = load_config(args)
    from gemwire_server.checkpoints import open_configured

    checkpoint = open_configured(config)
    tokenizer = checkpoint.load_tokenizer()
    task = args.task or config.default_task
    if args.prompt is not None:
        prompt = args.prompt
    elif args.prompt_name is not None:
        prompt = checkpoint.prompts.by_name(args.prompt_name)
    else:
        prompt = checkpoint.prompts.for_task(task) if task else checkpoint.prompts.default

    def tokenize(text: str) -> Tokens:
        ids = tokenizer.encode(text, prompt=prompt, truncation=None).ids.tolist()
        return ids, tokenizer.pieces(ids), len(ids) > tokenizer.max_tokens

    return tokenize
