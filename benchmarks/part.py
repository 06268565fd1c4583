"""What every part of `make gpu` can be told."""

import argparse
from pathlib import Path


def part_parser(description: str | None, seconds: float) -> argparse.ArgumentParser:
    """`seconds` is how long the part takes if it is not told."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=seconds, help=f"when to stop (default: {seconds:g})"
    )
    parser.add_argument("--model", help="checkpoint folder; default: a seeded one of full geometry")
    parser.add_argument("--tile-table", type=Path, help="what `gemwire tune` wrote")
    parser.add_argument("--output", type=Path)
    parser.add_argument(
        "--dry-run", action="store_true", help="small sizes, for where there is no GPU"
    )
    return parser
