"""Tables of tiles: which one a card gets, and what is none."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gemwire_kernels.gpu import Attention, GpuOps, TileTable, find_table
from gemwire_kernels.gpu.tiles import TRITON, to_entry
from gemwire_kernels.tensors import from_tensor
from support.kernels.setting import DEVICE, small_tiles

SHARED_MEMORY = {90: 232448, 100: 232448, 80: 166912, 89: 101376, 120: 101376}
CARD = "NVIDIA Test 3000"


def served(shared_memory: int = 232448, dtype: str = "bfloat16") -> TileTable:
    return find_table(CARD, shared_memory, dtype)


def write(path: Path, document: Any) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def entry(**changes: Any) -> dict[str, Any]:
    """A measured table, which its programs a multiprocessor identify."""
    sets = [replace(s, attention=replace(s.attention, per_multiprocessor=3)) for s in served().sets]
    made = to_entry(sets, CARD, "bfloat16") | changes
    return json.loads(json.dumps(made))  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("shared_memory", SHARED_MEMORY.values())
def test_every_card_has_a_table(shared_memory: int, dtype: str) -> None:
    table = served(shared_memory, dtype)
    assert "not measured" in table.source and CARD in table.source
    for tokens in (1, 32, 33, 128, 129, 1024, 1025, 16896):
        chosen = table.for_tokens(tokens)
        assert chosen in table.sets
        assert chosen.max_tokens is None or tokens <= chosen.max_tokens


def test_more_shared_memory_gets_other_tiles() -> None:
    assert len({served(bytes).sets for bytes in SHARED_MEMORY.values()}) == 3
    assert served(232447).sets == served(166912).sets
    assert served(10**6).sets == served(232448).sets


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float16"])
def test_refuses_a_card_with_too_little(dtype: str) -> None:
    with pytest.raises(ValueError, match=f"{CARD} has 49152 bytes of shared memory"):
        served(49152, dtype)


def test_sets_change_at_their_limits() -> None:
    table = served()
    limits = [tile_set.max_tokens for tile_set in table.sets]
    assert limits == [32, 128, 1024, None]
    assert [table.sets.index(table.for_tokens(n)) for n in (1, 32, 33, 128, 129, 1024, 1025)] == [
        0, 0, 1, 1, 2, 2, 3,
    ]  # fmt: skip


def test_tiles_of_few_rows_are_for_the_card_that_gives_them_the_same_bits() -> None:
    """Another than Hopper gets them from `gemwire tune`, which compares; see gpu/tiles.py."""
    assert [s.at_once for s in served().sets] == [True, False, False, False]
    for major in (8, 10, 12):
        table = find_table(CARD, 232448, "bfloat16", major=major)
        assert table.sets == served().sets[1:]


@pytest.mark.parametrize("columns,at_once", [(1152, True), (1160, False), (8192, False)])
def test_rows_that_registers_do_not_hold_are_not_taken_at_once(columns: int, at_once: bool) -> None:
    sizes = Attention(num_heads=3, num_kv_heads=1, head_dim=32)
    ops = GpuOps(sizes, served(), dtype=torch.bfloat16, device=DEVICE, multiprocessors=2)
    ops.pack(from_tensor(torch.zeros(1, columns, dtype=torch.bfloat16)))
    ops.pack(from_tensor(torch.zeros(1, 768, dtype=torch.bfloat16)))
    assert ops.block(16).batch.plan.tiles.at_once is at_once


def test_reads_what_tune_writes(tmp_path: Path) -> None:
    for table in (served(), served(101376), served(101376, "float32"), small_tiles()):
        document = {"measured": [to_entry(table.sets, CARD, "bfloat16")]}
        found = find_table(CARD, 232448, "bfloat16", write(tmp_path / "mine.json", document))
        assert found.sets == table.sets
        assert found.source.endswith(f"mine.json, measured on {CARD} with Triton {TRITON}")


def test_reads_how_the_kernels_of_each_size_are_launched(tmp_path: Path) -> None:
    for table in (served(), served().with_chained(True), served().with_chained(False)):
        document = {"measured": [to_entry(table.sets, CARD, "bfloat16")]}
        found = find_table(CARD, 232448, "bfloat16", write(tmp_path / "mine.json", document))
        assert [s.chained for s in found.sets] == [s.chained for s in table.sets]
    for row in document["measured"][0]["sets"]:
        del row["chained"]
    found = find_table(CARD, 232448, "bfloat16", write(tmp_path / "mine.json", document))
    assert not any(s.chained for s in found.sets)


def test_only_a_card_with_a_copy_engine_chains() -> None:
    sizes = Attention(num_heads=3, num_kv_heads=1, head_dim=32)
    for copy_engine in (True, False):
        ops = GpuOps(
            sizes, small_tiles().with_chained(True), dtype=torch.float32, device=DEVICE,
            multiprocessors=2, copy_engine=copy_engine,
        )  # fmt: skip
        assert ops.block(16).batch.plan.chained is copy_engine


@pytest.mark.parametrize(
    "changes", [{"gpu": "another"}, {"triton": "2.0"}, {"dtype": "float32"}], ids=str
)
def test_a_measured_table_is_for_its_card_triton_and_dtype(
    changes: dict[str, str], tmp_path: Path
) -> None:
    file = write(tmp_path / "mine.json", {"measured": [entry(**changes), entry()]})
    assert find_table(CARD, 232448, "bfloat16", file).sets[0].attention.per_multiprocessor == 3
    file = write(tmp_path / "mine.json", {"measured": [entry(**changes)]})
    assert find_table(CARD, 232448, "bfloat16", file) == served()


def test_a_file_may_bring_fitting_tables_too(tmp_path: Path) -> None:
    fitting = {"shared_memory": 65536, "dtype": "bfloat16", "sets": entry()["sets"]}
    file = write(tmp_path / "mine.json", {"measured": [], "fitting": [fitting]})
    assert find_table(CARD, 70000, "bfloat16", file).sets[0].attention.block_m == 64


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in entry().items() if name != key}


def rows(**changes: Any) -> dict[str, Any]:
    """The table's rows, changed in the first one."""
    first, *others = entry()["sets"]
    return entry(sets=[first | changes, *others])


QKV = entry()["sets"][0]["qkv"]


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        '{"measured": 3}',
        '{"measured": [3]}',
        '{"measured": [{}]}',
        '{"measured": [], "fitting": [{}]}',
        '{"fitting": []}',
        {"measured": [without("triton")]},
        {"measured": [without("sets")]},
        {"measured": [entry(sets=[])]},
        {"measured": [entry(sets=[3])]},
        {"measured": [entry(sets={})]},
        {"measured": [rows(attention=[64, 64, 4])]},
        {"measured": [rows(attention=3)]},
        {"measured": [rows(attention=[64, 64, 4, 2, "1"])]},
        {"measured": [rows(attention=[64, 32, 4, 2, 1])]},
        {"measured": [rows(qkv=QKV[:-1])]},
        {"measured": [rows(qkv=[*QKV, 1])]},
        {"measured": [rows(qkv=[16, 0, 256, 4, 0, 1])]},
        {"measured": [rows(qkv=[48, 16, 64, 4, 1, 1])]},
        {"measured": [rows(qkv=[64, 16, 64, 16, 1, 1])]},
        {"measured": [rows(linear=[64, 16, 64, 4, -1, 1])]},
        {"measured": [rows(gate_up=[64, 0, 64, 4, 1, 1])]},
        {"measured": [rows(attention=[64, 64, 4, 0, 1])]},
        {"measured": [rows(attention=[64, 64, 4, 1, 0])]},
        {"measured": [rows(attention=[64, 64, 4, 1, True])]},
        {"measured": [rows(chained="no")]},
        {"measured": [rows(max_tokens=-3)]},
        {"measured": [rows(max_tokens=32.5)]},
        {"measured": [rows(max_tokens=128)]},
        {"measured": [rows(max_tokens=None)]},
        {"measured": [rows(max_tokens=1025)]},
        {"measured": [rows(max_tokens="128")]},
        {"measured": [entry(sets=entry()["sets"][:-1])]},
        {"measured": [entry(sets=[entry()["sets"][0] | {"max_tokens": None}])]},
    ],
    ids=lambda document: str(document)[:60],
)
def test_refuses_a_file_that_is_no_table(document: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "mine.json", document)
    with pytest.raises(ValueError, match=r"mine\.json"):
        find_table(CARD, 232448, "bfloat16", file)


def test_names_what_a_table_of_an_older_version_lacks(tmp_path: Path) -> None:
    old = {name: value for name, value in rows()["sets"][0].items() if name != "attention"}
    file = write(tmp_path / "mine.json", {"measured": [entry(sets=[old])]})
    with pytest.raises(ValueError, match="a size has no 'attention': run `gemwire tune` anew"):
        find_table(CARD, 232448, "bfloat16", file)


def test_refuses_several_sizes_of_attention() -> None:
    one, two = small_tiles((16, 16)).sets[0], small_tiles((32, 16)).sets[-1]
    with pytest.raises(ValueError, match="several sizes of attention"):
        TileTable("mine", (one, two))


@pytest.mark.parametrize("head_dim", [0, 16, 40, 48, 96, 512])
def test_refuses_heads_that_the_kernels_do_not_have(head_dim: int) -> None:
    attention = Attention(num_heads=3, num_kv_heads=1, head_dim=head_dim)
    with pytest.raises(ValueError, match=f"head_dim is {head_dim}; the GPU kernels have 32, 64"):
        GpuOps(attention, served(), dtype=torch.float32, device=DEVICE, multiprocessors=2)


def test_refuses_more_heads_than_a_tile_has_rows() -> None:
    """A token would have more tiles than the lists of them have room for."""
    attention = Attention(num_heads=17, num_kv_heads=1, head_dim=32)
    with pytest.raises(ValueError, match="17 query heads"):
        GpuOps(
            attention, small_tiles((16, 16)), dtype=torch.float32, device=DEVICE, multiprocessors=2
        )


@pytest.mark.parametrize("dtype,columns", [(torch.float32, 4), (torch.bfloat16, 8)])
def test_takes_weights_whose_rows_can_be_addressed(dtype: torch.dtype, columns: int) -> None:
    """What is too short of 16 bytes would come out of the copy engine as something else."""
    sizes = Attention(num_heads=1, num_kv_heads=1, head_dim=32)
    ops = GpuOps(sizes, small_tiles(), dtype=dtype, device=DEVICE, multiprocessors=2)
    weight = torch.zeros(3, 5 * columns, dtype=dtype)
    assert torch.equal(ops.pack(from_tensor(weight)).cpu(), weight)
    with pytest.raises(ValueError, match=f"multiples of {columns}$"):
        ops.pack(from_tensor(torch.zeros(3, 5 * columns + columns // 2, dtype=dtype)))
