"""Makes the parser of the options that every part of `make gpu` has."""

import argparse
from pathlib import Path


def part_parser(description: str | None, seconds: float) -> argparse.ArgumentParser:
    """Returns a parser with `seconds` as the default time."""
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
