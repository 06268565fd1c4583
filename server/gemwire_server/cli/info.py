"""gemwire info: describes a server, a checkpoint or this machine."""

import argparse
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence

from gemwire_server.cli.common import Parser, Subparsers, add_remote_flags, check_server_flags
from gemwire_server.cli.values import server
from gemwire_server.config.options import ServerConfig, add_flags

Facts = Mapping[str, object]


def add_parser(subparsers: Subparsers) -> Parser:
    parser = subparsers.add_parser(
        "info",
        help="describe a server, a checkpoint or this machine",
        description="Describes the model of a server, a checkpoint (without reading its weights) or, "
        "without either, this installation and this machine.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--server", type=server, metavar="ADDRESS", help="host:port or unix:/path of a server"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_remote_flags(parser)
    add_flags(parser, ("model", "revision", "sliding_window"))
    return parser


def run(args: argparse.Namespace) -> int:
    check_server_flags(args)
    if args.server is not None:
        facts = of_server(args)
    elif {"model", "revision", "sliding_window", "config"} & set(vars(args)):
        facts = of_checkpoint(ServerConfig.load(args, os.environ))
    else:
        from gemwire_server.cli.machine import facts as of_machine

        facts = of_machine()
    print(json.dumps(facts, ensure_ascii=False, indent=2) if args.json else table(facts))
    return 0


def of_server(args: argparse.Namespace) -> Facts:
    """The model as the server describes it."""
    from gemwire_server.cli import remote

    return dataclasses.asdict(remote.model(args.server, args))


def of_checkpoint(config: ServerConfig) -> Facts:
    """A checkpoint's facts, without its weights."""
    from gemwire_server.checkpoints import open_configured

    checkpoint = open_configured(config)
    sizes = checkpoint.config
    heads = sorted({layer.num_key_value_heads for layer in sizes.layers})
    return {
        "name": checkpoint.name,
        "path": str(checkpoint.path),
        # A digest would read all weights.
        "revision": checkpoint.revision() if checkpoint.commit else None,
        "dimensions": checkpoint.dimensions,
        "default_dimensions": checkpoint.default_dimensions,
        "max_input_tokens": checkpoint.max_tokens,
        "vocabulary_size": sizes.vocab_size,
        "layers": len(sizes.layers),
        "hidden_size": sizes.hidden_size,
        "heads": sizes.num_attention_heads,
        "key_value_heads": heads[0] if len(heads) == 1 else heads,
        "window": sizes.window,
        "dense_layers": len(checkpoint.pipeline.dense),
        "default_prompt": checkpoint.prompts.default,
        "prompts": dict(checkpoint.prompts.prompts),
    }


def table(facts: Facts, indent: str = "") -> str:
    """Names on the left, values on the right; nested facts follow below, indented."""
    width = max((len(name) for name in facts), default=0)
    lines = []
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{name}", table(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name:<{width}}  {_shown(value)}")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if value is None or value == "" or value == {}:
        return "-"
    if isinstance(value, str):
        # A prompt ends in a space that counts.
        return repr(value) if value != value.strip() else value
    if isinstance(value, Sequence):
        return ", ".join(map(str, value)) or "-"
    return str(value)
