"""The checkpoint that comes with gemwire is served without a flag, and its vectors carry meaning."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gemwire_client import Client
from gemwire_mini import CHECKPOINT
from gemwire_server import verify
from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.packing import pack
from gemwire_server.runners.choose import load_runner

QUERY, DOCUMENTS = verify.CARD_QUERY, list(verify.CARD_DOCUMENTS)
# Pairs of questions and answers of different subjects, few words in common.
ANSWERS = {
    "How do I get rid of a headache?": "A tablet against pain, water and rest in a dark room help.",
    "What is the capital of France?": "Paris lies on the Seine and is the seat of the French government.",
    "Why does my program crash at start?": "The application fails as a library it loads is missing.",
    "How long do dogs live?": "Most breeds of these pets reach an age of ten to thirteen years.",
    "Which instrument has black and white keys?": "The piano's strings are struck by hammers.",
    "How is bread made?": "Flour, water, salt and yeast are kneaded into a dough and baked.",
    "Who governs a country without a king?": "In a republic a president is elected by the people.",
    "What makes the sea rise and fall?": "Tides follow the pull of the moon on the ocean.",
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A server that was started as the quick start says, without a model."""
    command = [sys.executable, "-m", "gemwire_server", "serve", "--address", "127.0.0.1:0"]
    server = subprocess.Popen([*command, "--log-level", "error"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        with Client(server.stdout.readline().split()[-1]) as client:
            yield client
    finally:
        server.terminate()
        assert server.communicate()[1] is None and server.wait() == 0


def test_the_checkpoint_is_small_and_comes_with_a_card() -> None:
    files = [file for file in CHECKPOINT.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 20e6
    card = (CHECKPOINT / "README.md").read_text("utf-8")
    for part in ("licen", "MiniLM", "Held out", "nDCG", "English"):
        assert part in card


def test_it_is_what_serves_by_default(client: Client) -> None:
    model = client.model()
    assert model.name == "models/gemwire-mini"
    assert model.supported_dimensions == (384, 256, 128, 64)
    assert model.max_input_tokens == 2048


def test_mars_comes_first(client: Client) -> None:
    query = client.embed_query(QUERY)
    assert np.argmax(client.embed_documents(DOCUMENTS) @ query) == 1


@pytest.mark.parametrize("dimensions", [384, 256, 128, 64])
def test_answers_find_their_questions_at_every_size(client: Client, dimensions: int) -> None:
    queries = client.embed(list(ANSWERS), task="question_answering", dimensions=dimensions)
    answers = client.embed(list(ANSWERS.values()), task="retrieval_document", dimensions=dimensions)
    found = np.argmax(queries @ answers.T, axis=1)
    assert (found == np.arange(len(found))).mean() >= (0.85 if dimensions > 64 else 0.7)


def test_fewer_dimensions_change_similarities_little(client: Client) -> None:
    texts = [*ANSWERS, *ANSWERS.values(), *DOCUMENTS]
    full = client.embed(texts, task="semantic_similarity")
    errors = []
    for size in (256, 128, 64):
        short = client.embed(texts, task="semantic_similarity", dimensions=size)
        errors.append(np.abs(short @ short.T - full @ full.T).mean())
    assert errors == sorted(errors)
    assert errors[-1] < 0.15


def test_a_prompt_changes_the_vector_but_not_the_meaning(client: Client) -> None:
    vectors = [
        client.embed([QUERY], task=task)[0]
        for task in ("retrieval_query", "retrieval_document", "clustering")
    ]
    other = client.embed([next(iter(ANSWERS))], task="retrieval_query")[0]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert vectors[i] @ vectors[j] < 0.9999
        assert vectors[i] @ vectors[j] > other @ vectors[0] + 0.2


def test_a_long_text_keeps_its_subject(client: Client) -> None:
    planets = " ".join(DOCUMENTS * 22)
    bread = " ".join([ANSWERS["How is bread made?"]] * 90)
    vectors = client.embed_documents([planets, bread])
    near = vectors @ client.embed_query(QUERY)
    assert near[0] > near[1] + 0.2


def test_int8_and_float32_agree_with_bfloat16() -> None:
    checkpoint = open_checkpoint("gemwire-mini")
    tokenizer = checkpoint.load_tokenizer()
    ids = [tokenizer.encode(text).ids for text in (*ANSWERS, *ANSWERS.values(), *DOCUMENTS)]
    base = ServerConfig(model="gemwire-mini", device="cpu", threads=1)
    configs = (base, replace(base, weights="int8"), replace(base, dtype="float32"))
    found = [load_runner(checkpoint, config).run(pack(ids)) for config in configs]
    for other in found[1:]:
        assert (1 - (found[0] * other).sum(1)).max() < 1e-2


def test_verify_passes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = ServerConfig(model="gemwire-mini", device="cpu", threads=2)
    assert verify.run(config, None, "fp32") == 0
    assert "overlap" in capsys.readouterr().out
