"""The teacher's vectors of texts and words, against those of its own library."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from gemwire_training import teacher as module
from gemwire_training.teacher import PACKAGE, WORD_STEPS, Teacher, label

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed"
)
TEXTS = ["mars", "the red planet, unbelievably", "it's 4th from the sun", "red", "a b c d e f"]


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher()


def test_vectors_and_words_are_what_its_own_library_says(teacher: Teacher) -> None:
    from sentence_transformers import SentenceTransformer

    folder = Path(str(importlib.util.find_spec(PACKAGE).origin)).with_name("model")  # type: ignore[union-attr]
    theirs = SentenceTransformer(str(folder), device="cpu")
    vectors, words = teacher.vectors_and_words(TEXTS)
    assert np.abs(vectors - theirs.encode(TEXTS)).max() < 5e-3  # bf16
    assert np.array_equal(vectors, teacher.vectors(TEXTS))
    expected = []
    for text in TEXTS:
        states = theirs.encode(text, output_value="token_embeddings").float().cpu()
        places = theirs.tokenizer([text.split()], is_split_into_words=True).word_ids(0)
        for word in range(len(text.split())):
            expected.append(states[[place == word for place in places]].sum(0))
    assert words.shape == (len(expected), 384)
    most = 127 / WORD_STEPS  # that int8 holds; words of many pieces go beyond it
    error = torch.from_numpy(words) / WORD_STEPS - torch.stack(expected).clamp(-most, most)
    assert error.abs().max() < 0.1 and error.square().mean().sqrt() < 0.02


def test_labels_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int) -> None:
        raise Stopped

    monkeypatch.setattr(module, "CHUNK", 2)
    whole = label(TEXTS, tmp_path_in(tmp_path, "whole"), lambda done: None)
    with pytest.raises(Stopped):
        label(TEXTS, tmp_path_in(tmp_path, "stopped"), stop)
    done = list[int]()
    again = label(TEXTS, tmp_path / "stopped", done.append)
    assert done == [4, 5]
    assert np.array_equal(whole[0], again[0]) and np.array_equal(whole[1], again[1])
    with pytest.raises(RuntimeError, match="another corpus"):
        label(TEXTS[:3], tmp_path / "stopped", done.append)


def tmp_path_in(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name
