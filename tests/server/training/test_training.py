"""Batches, loss, both stages, and a run that goes on where it stopped."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch

from gemwire_training import distil as module
from gemwire_training.bag import Bag, first_table, train_bag
from gemwire_training.batches import Batches
from gemwire_training.distil import Targets, distil, rotation, schedule
from gemwire_training.loss import distillation_loss, word_loss
from gemwire_training.student import GEOMETRY, Student
from gemwire_training.vocabulary import ALL_PROMPTS, BOS, EOS, long_targets, piece_texts
from support.lesson import Lesson

SIZES = GEOMETRY.matryoshka_dimensions


def test_an_epoch_has_every_text_once_with_a_prompt_in_front(lesson: Lesson) -> None:
    batches = Batches(lesson.tokens, group_tokens=256, groups=3, seed=1)
    steps = batches.epoch(0)
    groups = [group for step in steps for group in step]
    short = [row for group in groups if group.prompts[0] >= 0 for row in group.rows]
    long = [row for group in groups if group.prompts[0] < 0 for row in group.rows]
    assert sorted(short) == list(range(len(lesson.corpus.texts)))
    assert sorted(long) == [0, 1]
    assert all(len(step) <= 3 for step in steps)
    for group in groups:
        ids = batches.ids(group)
        assert ids.shape == (len(group.rows), group.length)
        assert ids.numel() <= max(256, group.length)
        assert (ids[:, 0] == BOS).all() and (ids[:, -1] == EOS).all()
        for line, row, prompt in zip(ids.numpy(), group.rows, group.prompts, strict=True):
            if prompt >= 0:
                head = lesson.tokens.prompts[ALL_PROMPTS[prompt]]
                expected = np.concatenate([head, lesson.tokens.texts[row]])
                assert 0 <= len(expected) - (group.length - 2) < 16  # a long one loses its end
                assert (line[1:-1] == expected[: group.length - 2]).all()


def test_epochs_differ_and_come_again(lesson: Lesson) -> None:
    def rows(seed: int, epoch: int) -> list[list[int]]:
        batches = Batches(lesson.tokens, group_tokens=256, groups=3, seed=seed)
        return [group.rows.tolist() for step in batches.epoch(epoch) for group in step]

    assert rows(1, 4) == rows(1, 4)
    assert rows(1, 4) != rows(1, 5)
    assert rows(1, 4) != rows(2, 4)


def test_each_token_knows_its_word(lesson: Lesson) -> None:
    """A token's word is the one that its pieces make, and the same one behind a prompt."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(lesson.vocabulary))
    tokens = lesson.tokens
    spoken = " ".join(text.plain for text in lesson.corpus.texts).split()
    for row, text in enumerate(lesson.corpus.texts):
        words = tokens.words[tokens.texts.bounds[row] : tokens.texts.bounds[row + 1]]
        if text.title:  # which the teacher reads otherwise
            assert (words == -1).all()
            continue
        its = tokens.texts[row]
        made = [processor.decode(its[words == word].tolist()).strip() for word in np.unique(words)]
        assert made == text.body.split()
        assert [spoken[word] for word in sorted(set(words))] == text.body.split()
    batches = Batches(tokens, group_tokens=256, groups=3, seed=1)
    for group in (group for step in batches.epoch(0) for group in step):
        for ids, words, row, prompt in zip(
            batches.ids(group).numpy(), batches.words(group).numpy(), group.rows, group.prompts,
            strict=True,
        ):  # fmt: skip
            if prompt < 0:
                assert (words == -1).all()
                continue
            head = 1 + len(tokens.prompts[ALL_PROMPTS[prompt]])
            behind = tokens.words[tokens.texts.bounds[row] : tokens.texts.bounds[row + 1]]
            assert (words[:head] == -1).all() and words[-1] == -1
            assert (words[head:-1] == behind[: len(ids) - 1 - head]).all()


def test_the_words_loss_is_of_their_directions_and_sizes_beside_each_other() -> None:
    torch.manual_seed(0)
    teacher = torch.randn(50, 384)
    assert word_loss(7 * teacher, teacher) == pytest.approx(0, abs=1e-5)
    assert word_loss(torch.nn.functional.normalize(teacher), teacher) > 1e-4  # all of one size
    assert word_loss(-teacher, teacher) == pytest.approx(2, abs=1e-5)
    assert word_loss(teacher[:0], teacher[:0]) == 0


def test_the_loss_is_none_for_the_teacher_itself_and_counts_each_size() -> None:
    torch.manual_seed(0)
    teacher = torch.nn.functional.normalize(torch.randn(8, 384), dim=-1)
    teacher[:, 64:] = 0  # so that the first 64 numbers are all there is
    teacher = torch.nn.functional.normalize(teacher, dim=-1)
    assert distillation_loss(teacher, teacher, SIZES) == pytest.approx(0, abs=1e-5)
    turned = teacher.roll(320, dims=1)  # as similar to each other, but not in the first numbers
    whole = distillation_loss(turned, teacher, [384])
    assert whole == pytest.approx(1, abs=1e-5)
    assert distillation_loss(turned, teacher, [384, 64]) > whole + 0.1


def test_token_vectors_learn(lesson: Lesson) -> None:
    pieces, special = piece_texts(lesson.vocabulary)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((GEOMETRY.vocab_size, 384), np.float32) / np.float32(384**0.5)
    table = first_table(vectors, lesson.tokens.counts(), special)
    assert (table[special, :-1] == 0).all() and (table[:, -1] == table[0, -1]).all()
    bag = Bag(table)
    losses = list(train_bag(bag, lesson.tokens, torch.from_numpy(lesson.vectors), 80, seed=0))
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    assert len(pieces) == 1024


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_EVERY", 4)
    targets = Targets(
        torch.from_numpy(lesson.vectors),
        torch.from_numpy(long_targets(lesson.corpus, lesson.vectors)),
        lesson.words,
        torch.eye(384),
    )
    batches = Batches(lesson.tokens, group_tokens=512, groups=2, seed=1)

    def fresh() -> Student:
        torch.manual_seed(1)
        return Student(gain=0.1)

    class Stopped(Exception):
        pass

    def stop_at_six(done: int, loss: float) -> None:
        if done == 6:
            raise Stopped

    def ignore(*_: Any) -> None:
        pass

    whole, resumed = fresh(), fresh()
    losses = distil(whole, batches, targets, 10, tmp_path / "whole.pt", ignore)
    with pytest.raises(Stopped):
        distil(fresh(), batches, targets, 10, tmp_path / "stopped.pt", stop_at_six)
    done = list[int]()
    again = distil(
        resumed, batches, targets, 10, tmp_path / "stopped.pt", lambda n, loss: done.append(n)
    )
    assert done == [5, 6, 7, 8, 9, 10]  # from the last save
    assert again == losses
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_rate_rises_and_falls_to_nothing() -> None:
    rates = [schedule(step, 1000) for step in range(1000)]
    assert rates[0] < 0.05 and max(rates) <= 1 and 0 < rates[-1] < 0.002
    assert rates.index(max(rates)) < 50


def test_rotation_keeps_cosines_and_puts_the_most_first(lesson: Lesson) -> None:
    stretched = lesson.vectors * np.linspace(3, 0.1, 384, dtype=np.float32)
    axes = rotation(stretched)
    turned = stretched @ axes
    assert np.allclose(turned @ turned.T, stretched @ stretched.T, atol=1e-4)
    power = np.square(turned).sum(0)
    assert (np.diff(power) <= 1e-3).all()
