"""The student that trains is the model that serves."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gemwire_kernels import reference
from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.engine.packing import pack
from gemwire_training.bag import Bag
from gemwire_training.export import export
from gemwire_training.student import GEOMETRY, Student
from support.lesson import Lesson
from support.reference_model import ReferenceModel

# Short, around the sliding window's edge, and the longest.
LENGTHS = (3, 17, 256, 257, 258, 600, 2048)


@pytest.fixture(scope="module")
def student() -> Student:
    torch.manual_seed(3)
    student = Student(gain=0.7)
    with torch.no_grad():
        for name, weight in student.named_parameters():
            # What an export rounds to.
            weight.copy_((weight + 0.2 * torch.randn_like(weight) * ("norm" in name)).bfloat16())
    return student


def test_an_exported_student_gives_the_vectors_it_had_in_training(
    student: Student, lesson: Lesson, tmp_path: Path
) -> None:
    export(student, lesson.vocabulary, tmp_path / "exported")
    checkpoint = open_checkpoint(str(tmp_path / "exported"))
    assert checkpoint.dimensions == GEOMETRY.matryoshka_dimensions
    encoder = checkpoint.load_encoder(reference, torch.float32, torch.device("cpu"))
    rng = np.random.default_rng(0)
    ids = [rng.integers(5, 1000, length).astype(np.int32) for length in LENGTHS]
    batch = pack(ids)
    served = encoder.forward(reference.place(batch.input_ids, batch.positions, batch.cu_seqlens))
    transformers = ReferenceModel(tmp_path / "exported", torch.float32).embed(ids)
    for sequence, vector, other in zip(ids, served, transformers, strict=True):
        with torch.no_grad():
            trained = student(torch.from_numpy(sequence.astype(np.int64))[None])[0]
        assert torch.linalg.vector_norm(trained - vector) < 2e-4, len(sequence)
        assert np.linalg.norm(trained.numpy() - other) < 2e-4, len(sequence)


def test_an_export_keeps_the_model_card_and_nothing_else(
    student: Student, lesson: Lesson, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "README.md").write_text("a card")
    (folder / "old.safetensors").write_text("old")
    export(student, lesson.vocabulary, folder)
    assert (folder / "README.md").read_text() == "a card"
    assert not (folder / "old.safetensors").exists()


def test_layers_without_gain_leave_a_bag_of_token_vectors() -> None:
    torch.manual_seed(5)
    table = torch.randn(GEOMETRY.vocab_size, GEOMETRY.hidden_size)
    bag = Bag(table)
    with torch.no_grad():
        bag.dense.add_(0.1 * torch.randn_like(bag.dense))
        ids = torch.randint(0, GEOMETRY.vocab_size, (4, 20))
        expected = bag(ids.flatten(), torch.arange(0, 80, 20))
        assert torch.allclose(bag.student(gain=0.0)(ids), expected, atol=1e-5)
        # In any order: a bag. With a gain it is none.
        assert torch.allclose(bag.student(gain=0.0)(ids.flip(1)), expected, atol=1e-5)
        assert not torch.allclose(bag.student(gain=0.5)(ids), expected, atol=1e-2)
