"""gemwire tune: measures which tile sizes are fastest on this GPU."""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from gemwire_server.cli.common import Parser, Subparsers
from gemwire_server.cli.progress import bar
from gemwire_server.cli.values import name, new_folder, number, whole, writable_path
from gemwire_server.config.checks import LARGEST
from gemwire_server.config.sources import shown

if TYPE_CHECKING:
    from gemwire_kernels.gpu.tune import Report, Tuned
    from gemwire_kernels.gpu.workbench import Sizes


def add_parser(subparsers: Subparsers) -> Parser:
    parser = subparsers.add_parser(
        "tune",
        help="measure which tile sizes are fastest on this GPU",
        description="Measures tile sizes of the matrix kernels and of attention on this GPU, for a "
        "model's sizes, and writes the fastest to a file for `gemwire serve --tile-table`. With one table "
        "a text gets the same bits in every batch; another table may give other bits. No other program "
        "should use the GPU meanwhile.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model",
        type=name,
        metavar="DIR|ID",
        help="measure for the sizes of this checkpoint; default: EmbeddingGemma's",
    )
    parser.add_argument(
        "--sliding-window", type=whole(0, LARGEST), default=0, metavar="TOKENS",
        help="the sliding_window to use, as for `gemwire serve`; 0: the number in config.json (default: 0)",
    )  # fmt: skip
    parser.add_argument(
        "--device", type=_device, default="cuda", help="the GPU: cuda or cuda:N (default: cuda)"
    )
    parser.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        default="bfloat16",
        help="dtype of weights and matrix products (default: bfloat16)",
    )
    parser.add_argument(
        "--seconds", type=number(1, 86400), default=300.0, metavar="N",
        help="about how long to measure: more time tries more candidates (default: 300)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=_output, metavar="FILE",
        help="the file to write; it keeps its tables of other GPUs (default: gemwire/tiles.json in the "
        "user's cache)",
    )  # fmt: skip
    return parser


def run(args: argparse.Namespace) -> int:
    import torch

    from gemwire_server.runners.choose import check_cuda

    device = torch.device(args.device)
    check_cuda(device)
    from gemwire_kernels.gpu.tiles import find_table, merge, read_tables, to_entry
    from gemwire_kernels.gpu.tune import tune
    from gemwire_kernels.gpu.workbench import Workbench

    output: Path = args.output or default_output()
    output.parent.mkdir(parents=True, exist_ok=True)
    # A file that cannot be written, or is no table, is refused before anything is measured.
    with TemporaryFile(dir=output.parent):
        read_tables(output)
    with torch.cuda.device(device):
        bench = Workbench(
            sizes_of(args.model, args.sliding_window), getattr(torch, args.dtype), device
        )
        gpu = torch.cuda.get_device_properties(device).name
        table = find_table(gpu, bench.shared_memory, args.dtype, major=bench.major)
        with _reporting() as report:
            tuned = tune(bench, table, args.seconds, report)
    merge(output, to_entry(tuned.sets, gpu, args.dtype))
    print(f"{gpu}, {args.dtype}; before: {table.source}")
    print(summary(tuned))
    print(f"{output}: use it with `gemwire serve --tile-table {output}`")
    return 0


def sizes_of(model: str | None, sliding_window: int) -> "Sizes":
    """The sizes of a checkpoint, or of EmbeddingGemma."""
    from gemwire_kernels.gpu.workbench import EMBEDDINGGEMMA, Sizes

    if model is None:
        return EMBEDDINGGEMMA
    from gemwire_server.checkpoints import open_checkpoint
    from gemwire_server.runners.cuda import attention_of

    config = open_checkpoint(model, sliding_window=sliding_window).config
    return Sizes(
        attention=attention_of(config),
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        window=config.window,
        positions=config.max_position_embeddings,
    )


def default_output() -> Path:
    """A file in the user's cache (XDG base directories)."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "gemwire" / "tiles.json"


def summary(tuned: "Tuned") -> str:
    """A line for each operation and size."""
    lines = [f"{'':10} {'tokens':>6} {'before':>10} {'after':>10} {'':>7}  tried  tile"]
    for change in tuned.changes:
        before = f"{change.before * 1e6:7.1f} µs" if change.before else "-"
        gain = f"{change.before / change.after:5.2f} x" if change.before else ""
        lines.append(
            f"{change.operation:10} {change.tokens:6} {before:>10} {change.after * 1e6:7.1f} µs "
            f"{gain:>7}  {change.tried:5}  {change.tile}"
        )
    return "\n".join(lines)


@contextmanager
def _reporting() -> "Iterator[Report]":
    """Draws a bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda done, steps, what: None
        return
    with bar(None) as drawn:

        def report(done: int, steps: int, what: str) -> None:
            if drawn is not None:
                drawn.draw(done, f"{done} of {steps}: {what}")

        yield report


def _output(value: str) -> Path:
    """A file in a folder that may have to be made."""
    if value and not Path(value).parent.exists():
        return new_folder(value)
    return writable_path(value)


def _device(value: str) -> str:
    if re.fullmatch(r"cuda(:\d{1,3})?", value) is None:
        raise argparse.ArgumentTypeError(f"is {shown(value)}: must be cuda or cuda:N")
    return value
