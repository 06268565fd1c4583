"""Tile sizes: frozen by GPU and Triton version, never searched for while serving.

tiles.json beside this file holds two lists. `measured` names the card and the Triton version that a table
is for; `gemwire tune` measures another one and writes a file of the same form. `fitting` serves every
other card: the first table whose shared memory the card has, chosen by asking the compiler, not a clock:
all fit, and on Hopper nothing spills. On other cards some kernels do, and are slower for it.

A table has several sizes of matrix tiles, by the number of tokens. Their bits are the same: an element's
sum goes through K in order, 16 at a time, whatever BLOCK_K is. Tests compare, so does `gemwire tune` before
it times a tile, and the server warns at its start. Tiles of few rows take another matrix instruction. On
Hopper it gives the bits of the one for many rows; other cards get such tiles only from `gemwire tune`.

Attention has one size of tile, as the blocks of keys and the parts that pooling sums are its own; only its
stages and programs a multiprocessor change with the size.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import triton

Tile = TypeVar("Tile", "MatmulTile", "AttentionTile")
TRITON = ".".join(triton.__version__.split(".")[:2])
HOPPER = 9  # major compute capability
MOST_WARPS = 8
# The fields that identify a table.
KEYS = {"measured": ("gpu", "triton", "dtype"), "fitting": ("shared_memory", "dtype")}


@dataclass(frozen=True, slots=True, kw_only=True)
class MatmulTile:
    """BLOCK_M tokens by two blocks of BLOCK_N weight rows, BLOCK_K of the sum at a time.

    In qkv_norm_rope a BLOCK_N of 0 is half a head; with another, norm and rotation are a kernel of their
    own. 0 stages: all of the sum at once (see gemwire_kernels.gpu.matmul), in blocks of BLOCK_K.
    """

    block_m: int
    block_n: int
    block_k: int
    num_warps: int
    num_stages: int
    per_multiprocessor: int = 1

    def __post_init__(self) -> None:
        _check(self, block_m=16, block_n=0, block_k=16, num_stages=0)
        if self.at_once and not self.block_n:
            raise ValueError(f"{self} takes all of the sum at once, but half a head for BLOCK_N")

    @property
    def at_once(self) -> bool:
        return self.num_stages == 0

    def tiles(self, rows: int, columns: int) -> int:
        return triton.cdiv(rows, self.block_m) * triton.cdiv(columns, 2 * self.block_n)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionTile:
    """BLOCK_M packed rows of queries by BLOCK_N keys."""

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int
    per_multiprocessor: int = 1

    def __post_init__(self) -> None:
        _check(self, block_m=16, block_n=16, num_stages=1)

    @property
    def size(self) -> tuple[int, int, int]:
        """Returns the fields that a vector's bits depend on."""
        return self.block_m, self.block_n, self.num_warps


@dataclass(frozen=True, slots=True, kw_only=True)
class TileSet:
    """The tiles of every tiled kernel for batches of up to `max_tokens`; None: for batches of any size.

    `chained`: launch each kernel while the one before it ends, where the card can (Hopper and newer).
    """

    qkv: MatmulTile
    linear: MatmulTile
    gate_up: MatmulTile
    attention: AttentionTile
    max_tokens: int | None = None
    chained: bool = False

    def __post_init__(self) -> None:
        limit = self.max_tokens
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ValueError(f"max_tokens is {limit!r}: a size is for one token or more")
        if type(self.chained) is not bool:
            raise ValueError(f"chained is {self.chained!r}: it is true or false")
        if not self.linear.block_n or not self.gate_up.block_n:
            raise ValueError("only q, k and v may have a BLOCK_N of 0")

    @property
    def at_once(self) -> bool:
        return self.qkv.at_once or self.linear.at_once or self.gate_up.at_once


@dataclass(frozen=True, slots=True)
class TileTable:
    """Tile sets from small batches to any; `source` says for people where they come from."""

    source: str
    sets: tuple[TileSet, ...]

    def __post_init__(self) -> None:
        limits = [tile_set.max_tokens for tile_set in self.sets]
        if not limits or limits[-1] is not None or None in limits[:-1]:
            raise ValueError(f"{self.source}: only the last of the sizes has no max_tokens")
        if limits[:-1] != sorted(set(limits[:-1]), key=lambda limit: limit or 0):
            raise ValueError(f"{self.source}: sizes go from small to large")
        if self.sets[-1].at_once:
            raise ValueError(f"{self.source}: the largest size takes all of a sum at once")
        if len({tile_set.attention.size for tile_set in self.sets}) > 1:
            raise ValueError(f"{self.source}: several sizes of attention: bits would differ")

    def for_tokens(self, tokens: int) -> TileSet:
        return next(s for s in self.sets if s.max_tokens is None or tokens <= s.max_tokens)

    def in_steps(self) -> "TileTable":
        """Returns the table without the sizes that take all of a sum at once."""
        return replace(self, sets=tuple(s for s in self.sets if not s.at_once))

    def with_chained(self, chained: bool) -> "TileTable":
        return replace(self, sets=tuple(replace(s, chained=chained) for s in self.sets))


def find_table(
    gpu: str, shared_memory: int, dtype: str, extra: Path | None = None, *, major: int = HOPPER
) -> TileTable:
    """Returns the table for a card by name, its largest shared memory of a program in bytes, and a dtype.

    `extra` is a file that `gemwire tune` wrote; its tables go first. `major` is the card's compute
    capability. Raises ValueError if nothing fits, or for a file that is no table.
    """
    documents = [("tiles.json", files("gemwire_kernels.gpu").joinpath("tiles.json").read_text())]
    if extra is not None:
        documents.insert(0, (str(extra), extra.read_text("utf-8")))
    read = [(name, _read(name, text)) for name, text in documents]
    for name, document in read:
        for entry in document["measured"]:
            if (entry["gpu"], entry["triton"], entry["dtype"]) == (gpu, TRITON, dtype):
                return _table(f"{name}, measured on {gpu} with Triton {TRITON}", entry)
    for name, document in read:
        for entry in document["fitting"]:
            if entry["dtype"] == dtype and entry["shared_memory"] <= shared_memory:
                table = _table(f"{name}, not measured on {gpu}", entry)
                return table if major == HOPPER else table.in_steps()
    raise ValueError(f"{gpu} has {shared_memory} bytes of shared memory: too few for any tile set")


def to_entry(sets: Sequence[TileSet], gpu: str, dtype: str) -> dict[str, Any]:
    """Makes a `measured` entry of the file; the inverse of reading one."""
    rows = [
        {"max_tokens": s.max_tokens, "chained": s.chained}
        | {name: astuple(getattr(s, name)) for name in ("qkv", "linear", "gate_up", "attention")}
        for s in sets
    ]
    return {
        "gpu": gpu,
        "triton": TRITON,
        "dtype": dtype,
        "sets": rows,
    }


def merge(path: Path, entry: dict[str, Any]) -> None:
    """Puts an entry into a file of tables, in place of the entry for its card, Triton version and dtype.

    A missing file is made. Raises ValueError for a file that is no table, and leaves it as it is.
    """
    document = read_tables(path)
    key = [entry[name] for name in ("gpu", "triton", "dtype")]
    others = [
        other
        for other in document["measured"]
        if [other.get(name) for name in ("gpu", "triton", "dtype")] != key
    ]
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        text = json.dumps(document | {"measured": [*others, entry]}, indent=1) + "\n"
        partial.write_text(text, "utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_tables(path: Path) -> dict[str, list[Any]]:
    """Reads the tables that `merge` adds to; none where there is no file. Raises ValueError for a
    file that is no table.
    """
    return _read(str(path), path.read_text("utf-8")) if path.exists() else {"measured": []}


def _read(name: str, text: str) -> dict[str, list[Any]]:
    try:
        document = json.loads(text)
        found = {"measured": document["measured"], "fitting": document.get("fitting", [])}
        for kind, keys in KEYS.items():
            for entry in found[kind]:
                for key in keys:
                    entry[key]
        return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name} is no table of tiles: {error!r}") from None


def _table(source: str, entry: dict[str, Any]) -> TileTable:
    try:
        sets = tuple(
            TileSet(
                qkv=_tile(MatmulTile, row["qkv"]),
                linear=_tile(MatmulTile, row["linear"]),
                gate_up=_tile(MatmulTile, row["gate_up"]),
                attention=_tile(AttentionTile, row["attention"]),
                max_tokens=row["max_tokens"],
                chained=row.get("chained", False),
            )
            for row in entry["sets"]
        )
        return TileTable(source, sets)
    except KeyError as error:
        raise ValueError(f"{source}: a size has no {error}: run `gemwire tune` anew") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source}: {error}") from None


def _tile(kind: type[Tile], numbers: Sequence[int]) -> Tile:
    """Makes a tile of its fields, in their order."""
    names = [field.name for field in fields(kind)]
    if len(numbers) != len(names) or not all(type(number) is int for number in numbers):
        raise TypeError(f"{numbers} for {', '.join(names)}")
    return kind(**dict(zip(names, numbers, strict=True)))


def _check(tile: MatmulTile | AttentionTile, **least: int) -> None:
    """Raises ValueError if a field is below its least, or a block or the warps are no power of two."""
    least |= {"num_warps": 1, "per_multiprocessor": 1}
    for name, minimum in least.items():
        value = getattr(tile, name)
        power = name.startswith("block") or name == "num_warps"
        if value < minimum or (power and value & (value - 1)):
            raise ValueError(f"{name} is {value} in {tile}")
    if tile.num_warps > MOST_WARPS:
        raise ValueError(f"{tile} has more than {MOST_WARPS} warps")
