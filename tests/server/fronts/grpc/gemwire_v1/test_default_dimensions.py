"""`truncate_dim` of a checkpoint is the size of a vector where a request asks for none."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client import Client
from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.verify import reference_vectors
from support.calling import gemwire
from support.edited import edit
from support.harness import Served, running, text, values

TEXTS = ["Which planet is known as the Red Planet?", "Mars", "a b c"]
SIZE = 48  # none of config.json's


@pytest.fixture(scope="module")
def truncated(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truncated") / "tiny"
    shutil.copytree(tiny_checkpoint, folder)
    edit(folder / "config_sentence_transformers.json", lambda c: c.update(truncate_dim=SIZE))
    return folder


@pytest.fixture(scope="module")
def served(truncated: Path) -> Iterator[Served]:
    with running(str(truncated), dtype="float32") as server:
        yield server


def whole(served: Served) -> NDArray[np.float32]:
    """The vectors at full size, asked for by name."""
    request = pb.BatchEmbedRequest(
        inputs=[text(t) for t in TEXTS], options=pb.EmbedOptions(output_dimensionality=96)
    )
    answer = served.embedding.BatchEmbed(request)
    return np.stack([values(result.embedding) for result in answer.results])


def units(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    shorter: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return shorter


def test_the_model_tells_it(served: Served) -> None:
    model = served.model.GetModel(pb.GetModelRequest()).model
    assert (model.dimensions, model.default_dimensions) == (96, SIZE)
    assert list(model.supported_dimensions) == [96, 64, SIZE, 32]


def test_every_method_gives_it(served: Served) -> None:
    full = whole(served)
    expected = units(full[:, :SIZE])
    inputs = [text(t) for t in TEXTS]
    one = served.embedding.Embed(pb.EmbedRequest(input=inputs[0])).embedding
    assert one.dimensions == SIZE
    np.testing.assert_allclose(values(one), expected[0], atol=1e-6)
    many = served.embedding.BatchEmbed(pb.BatchEmbedRequest(inputs=inputs)).results
    np.testing.assert_allclose([values(r.embedding) for r in many], expected, atol=1e-6)
    sent = [
        pb.EmbedStreamRequest(open=pb.StreamOpen(ordered=True)),
        pb.EmbedStreamRequest(batch=pb.StreamBatch(first_id=1, inputs=inputs)),
    ]
    results = [r for m in served.embedding.EmbedStream(iter(sent)) for r in m.results.results]
    np.testing.assert_allclose([values(r.embedding) for r in results], expected, atol=1e-6)
    alike = served.embedding.ComputeSimilarity(
        pb.ComputeSimilarityRequest(source=inputs[0], targets=inputs[1:])
    )
    scores = [result.score for result in alike.results]
    np.testing.assert_allclose(scores, expected[1:] @ expected[0], atol=1e-6)
    raw = pb.EmbedOptions(normalize=False)
    cut = served.embedding.Embed(pb.EmbedRequest(input=inputs[0], options=raw)).embedding
    np.testing.assert_allclose(values(cut), full[0, :SIZE], atol=1e-6)


def test_client_and_commands(served: Served, truncated: Path, tmp_path: Path) -> None:
    expected = units(whole(served)[:, :SIZE])
    with Client(served.address) as client:
        assert client.model().default_dimensions == SIZE
        np.testing.assert_allclose(client.embed(TEXTS), expected, atol=1e-6)
        np.testing.assert_allclose(list(client.embed_iter(TEXTS)), expected, atol=1e-6)
        assert client.embed([]).shape == (0, SIZE)
        assert client.embed(TEXTS, dimensions=64).shape == (3, 64)
    for where in (("--server", served.address), ("--model", str(truncated), "--dtype", "float32")):
        out = tmp_path / "out.npy"
        done = gemwire("embed", "-", "-o", str(out), *where, input="\n".join(TEXTS))
        assert (done.returncode, done.stderr) == (0, "")
        np.testing.assert_allclose(np.load(out), expected, atol=1e-6)
    flags = ("--seconds", "1", "--warm-up", "0", "--rate", "10", "--tokens", "8")
    result = tmp_path / "result.json"
    done = gemwire("bench", *flags, "--server", served.address, "-o", str(result))
    figures = json.loads(result.read_text())["steps"][0]["all"]
    assert figures["ok"] == figures["samples"] > 0, done.stderr
    facts = json.loads(gemwire("info", "--model", str(truncated), "--json").stdout)
    assert facts["default_dimensions"] == SIZE


def test_a_size_over_the_whole_vector_cuts_nothing(truncated: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(truncated, tmp_path / "copy"))
    edit(folder / "config_sentence_transformers.json", lambda c: c.update(truncate_dim=500))
    checkpoint = open_checkpoint(str(folder))
    assert (checkpoint.default_dimensions, checkpoint.dimensions) == (96, (96, 64, 32))


def test_verify_compares_whole_vectors(truncated: Path) -> None:
    checkpoint = open_checkpoint(str(truncated))
    assert reference_vectors(checkpoint, TEXTS, torch.float32).shape == (3, 96)
