"""Sources and sinks: what goes in comes out, row by row, or is refused by its row."""

import bz2
import datetime
import gzip
import io
import json
import lzma
import os
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gemwire_server.cli import parquet
from gemwire_server.cli.rows import Columns, Row, TableError, Vector
from gemwire_server.cli.tables import check_output, open_sink, open_source

TEXT = Columns("text", None)
TITLED = Columns("text", "title")
DIMENSIONS = 4
ODD = [
    "plain",
    "日本語 🎉 é",
    "two\nlines\r\nand\ttab",
    'quote " and \\',
    "\u2028 \x85 \x0b not line ends",
]


def rows(path: Path, columns: Columns = TEXT, kind: str | None = None) -> list[Row]:
    with open_source(str(path), kind, columns) as source:
        return list(source)


def vectors(count: int, dimensions: int = DIMENSIONS) -> Vector:
    return np.random.default_rng(5).standard_normal((count, dimensions), np.float32)


def pipe(source_path: Path, sink_path: Path, missing: Sequence[int] = ()) -> Vector:
    """Reads one file and writes the other, with random vectors but for the missing rows."""
    with (
        open_source(str(source_path), None, TEXT) as source,
        open_sink(str(sink_path), DIMENSIONS, source.schema) as sink,
    ):
        found = list(source)
        answers = vectors(len(found))
        for number, row in enumerate(found):
            sink.write(row, None if number in missing else answers[number])
    assert [path.name for path in sink_path.parent.iterdir() if path.name.startswith(".")] == []
    return answers


def write_jsonl(path: Path, objects: Sequence[dict[str, Any]], ascii: bool = False) -> Path:
    path.write_text("".join(json.dumps(o, ensure_ascii=ascii) + "\n" for o in objects), "utf-8")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


# Sources


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes("\ufeffone\r\ntwo é\x85\u2028 still two\n\nlast".encode())
    found = rows(path)
    assert [row.text for row in found] == ["one", "two é\x85\u2028 still two", "", "last"]
    assert [row.where for row in found] == ["line 1", "line 2", "line 3", "line 4"]
    assert [bool(row.problem) for row in found] == [False, False, True, False]
    assert found[-1].position == path.stat().st_size
    assert found[0].columns == {"text": "one"}


def test_lines_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"fine\nab\xff\n")
    with pytest.raises(TableError, match=r"^line 2: not UTF-8 at byte 3$"):
        rows(path)


@pytest.mark.parametrize("ascii", [True, False])
def test_jsonl(tmp_path: Path, ascii: bool) -> None:
    objects: list[dict[str, Any]] = [
        {"id": i, "text": text, "title": None} for i, text in enumerate(ODD)
    ]
    found = rows(write_jsonl(tmp_path / "in.jsonl", objects, ascii), TITLED)
    assert [row.text for row in found] == ODD
    assert [row.columns for row in found] == objects


def test_jsonl_skips_blank_lines_and_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('\n{"text": "a"}\n  \n{"text": "b"}')
    assert [(row.where, row.text) for row in rows(path)] == [("line 2", "a"), ("line 4", "b")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "secret"', "line 2: not JSON: Expecting ',' delimiter at column 18"),
        ('["secret"]', "line 2: not a JSON object"),
        ('{"text": "secret", "x": NaN}', "line 2: not JSON: NaN is no JSON number"),
        ('{"id": 1, "body": "secret"}', "line 2: no column 'text'; there are 'id', 'body'"),
        ('{"text": "secret", "embedding": []}', "line 2: there is a column 'embedding' already"),
        ("[" * 100_000, "line 2: not JSON: "),
    ],
)
def test_bad_jsonl_names_the_line_and_shows_no_text(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(TableError) as caught:
        rows(path)
    assert str(caught.value).startswith(said) and "secret" not in str(caught.value)


def test_texts_that_cannot_be_embedded_are_problems_of_their_row(tmp_path: Path) -> None:
    objects: list[dict[str, Any]] = [
        {"text": None},
        {"text": 5},
        {"text": ""},
        {"text": "a\ud800"},
        {"text": "a", "title": 5},
        {"text": "a", "title": "t"},
    ]
    found = rows(write_jsonl(tmp_path / "in.jsonl", objects, ascii=True), TITLED)
    assert [row.problem for row in found] == [
        "'text' is null",
        "'text' is not a string",
        "'text' is empty",
        "'text' is not Unicode: it holds half of a surrogate pair",
        "'title' is not a string",
        "",
    ]
    assert (found[-1].text, found[-1].title) == ("a", "t")


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": [*ODD, None], "title": ["t"] * 6}), path, row_group_size=2)
    with open_source(str(path), None, TITLED) as source:
        assert source.size == 6
        found = list(source)
    assert [row.text for row in found] == [*ODD, ""]
    assert (found[1].where, found[1].title, found[5].problem) == ("row 2", "t", "'text' is null")
    assert dict(found[0].columns) == {"text": "plain", "title": "t"}
    dictionary = pa.table({"text": pa.array(["a", "b", "a"]).dictionary_encode()})
    pq.write_table(dictionary, path)
    assert [row.text for row in rows(path)] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"body": ["a"], "id": [1]}, "no column 'text'; there are 'body', 'id'"),
        ({"text": [1]}, "column 'text' is int64, not a string"),
        ({"text": ["a"], "embedding": [1]}, "there is a column 'embedding' already"),
    ],
)
def test_bad_parquet(tmp_path: Path, table: dict[str, list[Any]], said: str) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table(table), path)
    with pytest.raises(TableError) as caught:
        rows(path)
    assert said in str(caught.value)


def test_what_is_no_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    path.write_bytes(b"no")
    with pytest.raises(TableError, match="not a Parquet file"):
        rows(path)
    with (
        pytest.raises(TableError, match="cannot come from a pipe"),
        open_source("-", "parquet", TEXT),
    ):
        pass


def test_format_is_told_by_the_name(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a,b\n")
    with pytest.raises(TableError, match="give its --format"):
        rows(path)
    assert rows(path, kind="lines")[0].text == "a,b"
    with pytest.raises(TableError, match="ending tells the format"):
        check_output("out.txt")


# Sinks


@pytest.mark.parametrize("count", [0, 1, 7])
def test_npy(tmp_path: Path, count: int) -> None:
    source = tmp_path / "in.txt"
    source.write_text("text\n" * count)
    answers = pipe(source, tmp_path / "out.npy", missing=[3])
    read = np.load(tmp_path / "out.npy")
    assert read.shape == (count, DIMENSIONS) and read.dtype == np.float32
    if count > 3:
        assert np.isnan(read[3]).all()
        answers[3] = np.nan
    np.testing.assert_array_equal(read, answers)
    assert np.load(tmp_path / "out.npy", mmap_mode="r").shape == (count, DIMENSIONS)


def test_jsonl_to_jsonl_keeps_columns_and_every_bit(tmp_path: Path) -> None:
    objects: list[dict[str, Any]] = [
        {"id": i, "text": text, "deep": {"a": [1, None]}} for i, text in enumerate(ODD)
    ]
    source = write_jsonl(tmp_path / "in.jsonl", objects)
    answers = pipe(source, tmp_path / "out.jsonl", missing=[1])
    written = read_jsonl(tmp_path / "out.jsonl")
    for i, (before, after) in enumerate(zip(objects, written, strict=True)):
        embedding = after.pop("embedding")
        assert after == before
        if i == 1:
            assert embedding is None
        else:
            assert np.array_equal(np.array(embedding, np.float32), answers[i])
    assert "日本語" in (tmp_path / "out.jsonl").read_text("utf-8")


def test_half_a_surrogate_pair_in_another_column_is_kept(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a", "x": "\ud800"}], ascii=True)
    pipe(source, tmp_path / "out.jsonl")
    assert read_jsonl(tmp_path / "out.jsonl")[0]["x"] == "\ud800"


def test_jsonl_to_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 2)
    objects: list[dict[str, Any]] = [
        {"text": "a", "n": 1, "deep": {"k": [1]}},
        {"text": "b", "n": None},
        {"text": "c", "n": 3, "deep": None},
    ]
    answers = pipe(
        write_jsonl(tmp_path / "in.jsonl", objects), tmp_path / "out.parquet", missing=[2]
    )
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column("n").to_pylist() == [1, None, 3]
    assert table.column("deep").to_pylist() == ['{"k": [1]}', None, None]
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), DIMENSIONS)
    embeddings = table.column("embedding").to_pylist()
    assert embeddings[2] is None
    assert np.array_equal(np.array(embeddings[:2], np.float32), answers[:2])
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == 2


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1, 2, "secret"], "line 3: column 'x' does not fit int64"),
        (["secret", 2], "line 2: column 'x' does not fit string"),
        ([1, 2**70], "line 2: column 'x' does not fit int64"),
        ([1, 2, 2.5], "line 3: column 'x' does not fit int64"),
    ],
)
def test_values_of_two_types_in_a_parquet_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[Any], said: str
) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 2)
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a", "x": value} for value in values])
    with pytest.raises(TableError) as caught:
        pipe(source, tmp_path / "out.parquet")
    assert said in str(caught.value) and "secret" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_column_that_comes_late_in_a_parquet_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 2)
    objects: list[dict[str, Any]] = [{"text": "a"}, {"text": "b"}, {"text": "c", "late": 1}]
    with pytest.raises(TableError, match="line 3: column 'late' is not in the first 2 rows"):
        pipe(write_jsonl(tmp_path / "in.jsonl", objects), tmp_path / "out.parquet")


def test_parquet_to_parquet_keeps_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BATCH_ROWS", 3)
    monkeypatch.setattr(parquet, "GROUP_ROWS", 4)
    now = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)
    table = pa.table(
        {
            "text": [f"text {i}" for i in range(10)],
            "at": pa.array([now] * 10, pa.timestamp("ns")),
            "price": pa.array([Decimal("1.25"), None] * 5, pa.decimal128(9, 2)),
            "tags": [[str(i)] * i for i in range(10)],
            "raw": pa.array([b"\xff\x00"] * 10),
            "kind": pa.array(["x", "y"] * 5).dictionary_encode(),
            "small": pa.array(range(10), pa.int8()),
        }
    ).replace_schema_metadata({"pandas": "of the table as it was"})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=4)
    answers = pipe(tmp_path / "in.parquet", tmp_path / "out.parquet", missing=[0, 9])
    written = pq.read_table(tmp_path / "out.parquet")
    embeddings = written.column("embedding").to_pylist()
    assert written.drop_columns("embedding").equals(table)
    assert written.schema.metadata is None
    assert embeddings[0] is None and embeddings[9] is None
    assert np.array_equal(np.array(embeddings[1:9], np.float32), answers[1:9])


def test_parquet_to_jsonl(tmp_path: Path) -> None:
    day = datetime.date(2026, 1, 2)
    pq.write_table(
        pa.table({"text": ["é"], "day": [day], "p": [Decimal("1.5")]}), tmp_path / "a.pq"
    )
    pipe(tmp_path / "a.pq", tmp_path / "out.jsonl")
    written = read_jsonl(tmp_path / "out.jsonl")[0]
    assert (written["text"], written["day"], written["p"]) == ("é", "2026-01-02", "1.5")
    pq.write_table(pa.table({"text": ["a"], "raw": [b"\xff"]}), tmp_path / "a.pq")
    with pytest.raises(TableError, match="row 1: a column has no JSON"):
        pipe(tmp_path / "a.pq", tmp_path / "out.jsonl")


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize("source", ["in.txt", "in.parquet"])
def test_no_rows(tmp_path: Path, source: str, ending: str) -> None:
    (tmp_path / "in.txt").write_text("")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "in.parquet")
    out = tmp_path / f"out{ending}"
    pipe(tmp_path / source, out)
    if ending == ".jsonl":
        assert out.read_bytes() == b""
    else:
        names = ["embedding"] if source == "in.txt" else ["text", "embedding"]
        assert pq.read_table(out).schema.names == names


# Files


@pytest.mark.parametrize("ending", [".npy", ".jsonl", ".parquet"])
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(
    tmp_path: Path, ending: str, failure: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"out{ending}"
    path.write_bytes(b"before")
    row = Row("line 1", "a", "", {"text": "a"}, 1)
    with pytest.raises(failure), open_sink(str(path), DIMENSIONS) as sink:
        for vector in vectors(parquet.GROUP_ROWS + 1):
            sink.write(row, vector)
        raise failure
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"
    assert capfd.readouterr().err == ""


def test_output_follows_a_link_and_the_umask(tmp_path: Path) -> None:
    (tmp_path / "link.npy").symlink_to(tmp_path / "real.npy")
    before = os.umask(0o027)
    try:
        with open_sink(str(tmp_path / "link.npy"), DIMENSIONS):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "link.npy").is_symlink()
    assert (tmp_path / "real.npy").stat().st_mode & 0o777 == 0o640


def test_output_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(OSError, match="not a file"), open_sink(str(tmp_path / "folder.npy"), 4):
        pass
    with pytest.raises(FileNotFoundError), open_sink(str(tmp_path / "none" / "out.npy"), 4):
        pass


@pytest.mark.parametrize("ending", [".npy", ".jsonl", ".parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, ending: str) -> None:
    count, dimensions = 20_000, 128
    source = tmp_path / "in.jsonl"
    with source.open("w") as file:
        for i in range(count):
            file.write(f'{{"id": {i}, "text": "text number {i}"}}\n')
    vector = vectors(1, dimensions)[0]
    tracemalloc.start()
    with (
        open_source(str(source), None, TEXT) as read,
        open_sink(str(tmp_path / f"out{ending}"), dimensions) as sink,
    ):
        for row in read:
            sink.write(row, vector)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All vectors are 10 MB; a row group of them, with its rows, is below 5.
    assert peak < 6_000_000


def test_standard_input_and_output(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO("a é\nb".encode())))
    )
    with open_source("-", None, TEXT) as source, open_sink("-", 2) as sink:
        assert source.size is None
        for row in source:
            sink.write(row, np.array([0.5, -0.25], np.float32))
    assert capsysbinary.readouterr().out.decode() == (
        '{"text": "a é", "embedding": [0.5,-0.25]}\n{"text": "b", "embedding": [0.5,-0.25]}\n'
    )


# Compressed


def zipped(kind: str, content: bytes) -> bytes:
    """By the tools people have: Python's own, and pyarrow for what Python 3.11 has not."""
    if kind in ("zst", "lz4"):
        codec = {"zst": "zstd", "lz4": "lz4"}[kind]
        return bytes(pa.compress(content, codec=codec, asbytes=True))
    compress: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
    }
    return compress[kind](content)


KINDS = ["gz", "bz2", "xz", "zst", "lz4"]


@pytest.mark.parametrize("kind", KINDS)
def test_compressed_lines_and_jsonl(tmp_path: Path, kind: str) -> None:
    lines = [json.dumps({"text": text, "id": i}) + "\n" for i, text in enumerate(ODD * 1000)]
    # As `cat a.gz b.gz` makes it, and as parallel compressors do.
    halves = ["".join(lines[:1234]).encode(), "".join(lines[1234:]).encode()]
    content = b"".join(zipped(kind, half) for half in halves)
    for name in (
        f"in.jsonl.{kind}",
        f"in.ndjson.{kind.upper()}",
        "in.jsonl",
    ):  # recognized by content
        (tmp_path / name).write_bytes(content)
        with open_source(str(tmp_path / name), None, TEXT) as source:
            found = list(source)
        assert [row.text for row in found] == ODD * 1000
        assert found[-1].where == f"line {len(lines)}"
        positions = [row.position for row in found]
        assert positions == sorted(positions) and positions[-1] == source.size == len(content)
    (tmp_path / f"in.txt.{kind}").write_bytes(zipped(kind, b"one\r\ntwo"))
    assert [row.text for row in rows(tmp_path / f"in.txt.{kind}")] == ["one", "two"]
    (tmp_path / f"in.txt.{kind}").write_bytes(zipped(kind, b""))
    assert rows(tmp_path / f"in.txt.{kind}") == []


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_compressed_files(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"in.txt.{kind}"
    noise = np.random.default_rng(3).integers(33, 127, 200_000, np.uint8)
    content = zipped(kind, b"\n".join(noise.tobytes()[i : i + 50] for i in range(0, 200_000, 50)))
    broken = bytearray(content)
    broken[len(broken) // 2 : len(broken) // 2 + 40] = bytes(40)
    for spoiled in (content[:-20], content[: len(content) // 2]):
        path.write_bytes(spoiled)
        with pytest.raises(TableError, match=r"in\.txt\.\w+: damaged \w+ at line \d+: \S"):
            rows(path)
    if kind in ("gz", "bz2", "xz"):  # the others need not have a checksum
        path.write_bytes(bytes(broken))
        with pytest.raises(TableError, match=r"damaged \w+ at line|not UTF-8"):
            rows(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_compressed_pipe(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "wb") as end:
        end.write(zipped(kind, b"a\nb\n"))
    with open(read, "rb") as pipe_end:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe_end))
        with open_source("-", None, TEXT) as source:
            assert [row.text for row in source] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04rest of it", "ZIP archive: unpack it"),
        (b"7z\xbc\xaf\x27\x1crest", "7z"),
        (b"PAR1\x15\x04rest", "--format parquet"),
        ("text".encode("utf-16"), "UTF-16"),
        (b"\x1f\x9drest", "gzip -d"),
    ],
)
def test_other_kinds_are_named_with_what_to_do(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "in.txt").write_bytes(content)
    with pytest.raises(TableError) as caught:
        rows(tmp_path / "in.txt")
    assert said in str(caught.value) and str(tmp_path / "in.txt") in str(caught.value)


def test_text_that_begins_like_a_compressed_file(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("BZh9 is how bzip2 begins\nPKs and PARs\n")
    assert len(rows(tmp_path / "in.txt")) == 2


def test_a_line_without_an_end_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemwire_server.cli.lines.LONGEST_LINE", 1 << 20)
    (tmp_path / "in.txt.gz").write_bytes(gzip.compress(b"a\n" + bytes(64 << 20)))
    tracemalloc.start()
    with pytest.raises(TableError, match="line 2: longer than 1 MiB"):
        rows(tmp_path / "in.txt.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("kind", KINDS)
def test_compressed_jsonl_comes_out(tmp_path: Path, kind: str) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in ODD])
    answers = pipe(source, tmp_path / f"out.jsonl.{kind}", missing=[2])
    with open_source(str(tmp_path / f"out.jsonl.{kind}"), None, Columns("text", None)) as again:
        with pytest.raises(TableError, match="column 'embedding' already"):
            list(again)
    content = (tmp_path / f"out.jsonl.{kind}").read_bytes()
    plain = b"".join(unzipped(kind, content).splitlines(True))
    written = [json.loads(line) for line in plain.decode().split("\n") if line]
    assert [line["text"] for line in written] == ODD and written[2]["embedding"] is None
    assert np.array_equal(np.array(written[0]["embedding"], np.float32), answers[0])
    pipe(source, tmp_path / f"again.jsonl.{kind}", missing=[2])
    assert (tmp_path / f"again.jsonl.{kind}").read_bytes() == content


def unzipped(kind: str, content: bytes) -> bytes:
    if kind in ("zst", "lz4"):
        codec = {"zst": "zstd", "lz4": "lz4"}[kind]
        return bytes(pa.input_stream(io.BytesIO(content), compression=codec).read())
    return {"gz": gzip.decompress, "bz2": bz2.decompress, "xz": lzma.decompress}[kind](content)


@pytest.mark.parametrize("name", ["out.npy.gz", "out.parquet.zst", "out.gz"])
def test_other_outputs_are_not_compressed(name: str) -> None:
    with pytest.raises(TableError, match=r"compressed|ending tells"):
        check_output(name)


def test_parquet_in_a_compressed_file_and_addresses_of_other_machines(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="unpack it first"):
        rows(tmp_path / "a.parquet.gz")
    # pyarrow would ask the network for it.
    with pytest.raises(FileNotFoundError):
        rows(Path("s3://bucket/a.parquet"))
    (tmp_path / "hdfs:").mkdir()
    pq.write_table(pa.table({"text": ["a"]}), str(tmp_path / "plain.parquet"))
    (tmp_path / "hdfs:" / "a.parquet").write_bytes((tmp_path / "plain.parquet").read_bytes())
    assert [row.text for row in rows(tmp_path / "hdfs:" / "a.parquet")] == ["a"]
