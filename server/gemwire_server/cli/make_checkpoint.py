"""gemwire make-checkpoint: writes random weights in the shape of a real checkpoint."""

import argparse
from pathlib import Path

from gemwire_server.cli.common import Parser, Subparsers
from gemwire_server.cli.values import new_folder, readable_path, whole
from gemwire_server.errors import CheckpointError

LARGEST_SEED = 2**63 - 1
GEOMETRIES = ("embeddinggemma-300m", "tiny")


def add_parser(subparsers: Subparsers) -> Parser:
    parser = subparsers.add_parser(
        "make-checkpoint",
        help="write a checkpoint with random weights",
        description="Writes a checkpoint with random weights, for tests and benchmarks. Its vectors mean "
        "nothing, but it loads and runs like a real checkpoint of its geometry.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "directory",
        metavar="DIR",
        type=new_folder,
        help="the folder to write, which must be new or empty",
    )
    parser.add_argument(
        "--geometry", required=True, choices=GEOMETRIES, help="sizes of its layers and vocabulary"
    )
    parser.add_argument(
        "--seed",
        type=whole(0, LARGEST_SEED),
        default=0,
        metavar="N",
        help="seed of the weights: the same seed makes the same bytes (default: 0)",
    )
    parser.add_argument(
        "--tokenizer",
        type=readable_path,
        metavar="FILE",
        help="SentencePiece model to use; default: one that is trained on the text that comes with gemwire",
    )
    parser.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        default="bfloat16",
        help="dtype of the weights (default: bfloat16)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    directory: Path = args.directory
    if directory.exists() and any(directory.iterdir()):
        raise OSError(f"{directory}: there already; give a folder that is new or empty")
    from gemwire_server.checkpoints.synthetic import make_checkpoint

    try:
        make_checkpoint(
            directory,
            geometry=args.geometry,
            seed=args.seed,
            tokenizer=args.tokenizer,
            dtype=args.dtype,
        )
    except CheckpointError as error:  # only the tokenizer's file can be wrong
        raise CheckpointError(f"--tokenizer {args.tokenizer}: {error}") from None
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    print(
        f"{directory}: {args.geometry} in {args.dtype}, {size / 1e6:,.1f} MB. The weights are "
        f"random (seed {args.seed}): its vectors mean nothing."
    )
    return 0
