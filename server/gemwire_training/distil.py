"""Stage two: the layers, from where the bag of token vectors ended."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gemwire_training.batches import Batches, Group
from gemwire_training.loss import distillation_loss, word_loss
from gemwire_training.student import GEOMETRY, Student
from gemwire_training.teacher import computes_bf16, sums_of_words

MATRIX_RATE, NORM_RATE, VECTOR_RATE = 4e-3, 2e-3, 2e-4
# Of the words' loss at first; it falls to nothing as the rate does. With more of it the layers learn
# sooner to read words by what is around them, but the texts' vectors are what counts in the end.
WORD_WEIGHT = 3.0
WARM_UP = 0.03
SAVE_EVERY = 200


@dataclass(frozen=True, slots=True)
class Targets:
    """The teacher's vectors, of length one, [n, 384]: of the texts, and of the long ones; and what it says
    of each word of the texts, int8 [words, 384], which is yet to be turned by `axes`."""

    texts: Tensor
    long: Tensor
    words: NDArray[np.int8]
    axes: Tensor

    def of(self, group: Group) -> Tensor:
        table = self.long if group.prompts[0] < 0 else self.texts
        return table[torch.from_numpy(group.rows)].float()

    def of_words(self, words: Tensor) -> Tensor:
        return torch.from_numpy(self.words[words.numpy()]).float() @ self.axes


def distil(
    student: Student,
    batches: Batches,
    targets: Targets,
    steps: int,
    state: Path,
    report: Callable[[int, float], None],
) -> list[tuple[float, float]]:
    """Trains in place for `steps` steps; returns the loss of each, of its texts and of its words.

    What is needed to go on is kept in `state`; a run that finds it goes on as if never stopped.
    """
    optimizers = _optimizers(student)
    losses: list[tuple[float, float]] = []
    if state.exists():
        saved = torch.load(state)
        losses = saved["losses"]
        student.load_state_dict(saved["student"])
        for optimizer, values in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(values)
    for groups in itertools.islice(_steps(batches), len(losses), steps):
        step = len(losses)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * schedule(step, steps)
        weight = WORD_WEIGHT * (1 - step / steps)
        losses.append(_step(student, groups, batches, targets, optimizers, weight))
        report(step + 1, losses[-1][0])
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            _save(state, student, optimizers, losses)
    return losses


def _optimizers(student: Student) -> list[Any]:
    """Muon for the layers' projections (kellerjordan.github.io/posts/muon), Adam for the rest."""
    parts: dict[str, list[torch.nn.Parameter]] = {"matrices": [], "norms": [], "rest": []}
    for name, weight in student.named_parameters():
        kind = "norms" if weight.dim() == 1 else "matrices" if "layers" in name else "rest"
        parts[kind].append(weight)
    norms = {"params": parts["norms"], "lr": NORM_RATE, "peak": NORM_RATE}
    rest = {"params": parts["rest"], "lr": VECTOR_RATE, "peak": VECTOR_RATE}
    matrices = {"params": parts["matrices"], "lr": MATRIX_RATE, "peak": MATRIX_RATE}
    return [
        torch.optim.Muon([matrices], weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.Adam([norms, rest], betas=(0.9, 0.98)),
    ]


def schedule(step: int, steps: int) -> float:
    """Up over the first steps, then linearly down to zero."""
    return min((step + 1) / (WARM_UP * steps), (steps - step) / (steps * (1 - WARM_UP)), 1.0)


def _steps(batches: Batches) -> Iterator[list[Group]]:
    for epoch in itertools.count():
        yield from batches.epoch(epoch)


def _step(
    student: Student,
    groups: list[Group],
    batches: Batches,
    targets: Targets,
    optimizers: list[Any],
    word_weight: float,
) -> tuple[float, float]:
    device = student.norm.weight.device
    with torch.autocast(device.type, torch.bfloat16) if computes_bf16() else nullcontext():
        states = [student.states(batches.ids(group).to(device)) for group in groups]
    vectors = F.normalize(student.project(torch.cat([each.mean(1) for each in states])), dim=-1)
    teacher = torch.cat([targets.of(group) for group in groups]).to(device)
    of_texts = distillation_loss(vectors, teacher, GEOMETRY.matryoshka_dimensions)
    words, sums = sums_of_words(
        torch.cat([each.flatten(0, 1) for each in states]),
        torch.cat([batches.words(group).flatten() for group in groups]),
    )
    of_words = word_loss(student.project(sums), targets.of_words(words).to(device))
    for optimizer in optimizers:
        optimizer.zero_grad()
    (of_texts + word_weight * of_words).backward()
    for optimizer in optimizers:
        optimizer.step()
    return of_texts.item(), of_words.item()


def _save(
    state: Path, student: Student, optimizers: list[Any], losses: list[tuple[float, float]]
) -> None:
    partial = state.with_suffix(".part")
    torch.save(
        {
            "student": student.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "losses": losses,
        },
        partial,
    )
    partial.replace(state)


def rotation(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The orthogonal [d, d] that turns vectors so that their leading numbers say most (PCA)."""
    _, axes = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    return np.ascontiguousarray(axes[:, ::-1], np.float32)
