"""Stage one: a vector for each piece, of which the mean is a text's. No layers, so it is fast."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gemwire_training.loss import distillation_loss
from gemwire_training.student import EPS, GEOMETRY, Student
from gemwire_training.vocabulary import BOS, EOS, Tokenized

TEXTS_A_STEP = 1024
# Of the first table's deviation.
LEARNING_RATE = 0.03
# The square of the constant number in each token's vector, in mean squares of the rest: with it RMSNorm
# keeps light tokens light. Larger keeps more, but int8 takes its step from a row's largest number.
CONSTANT = 1.0
# A token's weight falls with its probability p as a / (a + p) (Arora, Liang, Ma 2017).
COMMON = 1e-3


class Bag(nn.Module):
    """The student without its layers: embed, norm, mean, dense."""

    def __init__(self, table: Tensor) -> None:
        """`table`: fp32 [vocabulary, hidden], the last column constant."""
        super().__init__()
        hidden, out = GEOMETRY.hidden_size, GEOMETRY.embedding_size
        self.table = nn.Parameter(table)
        self.dense = nn.Parameter(torch.eye(out, hidden))
        with torch.no_grad():
            self.dense[:, -1] = 0

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """Texts end to end, int64 [tokens], and where each starts, to unit vectors [n, out]."""
        normed = F.rms_norm(self.table, self.table.shape[1:], eps=EPS)
        pooled = F.embedding_bag(ids, normed, offsets, mode="mean")
        return F.normalize(F.linear(pooled, self.dense), dim=-1)

    def student(self, gain: float) -> Student:
        """The same function as a student whose layers add next to nothing."""
        student = Student(gain=gain)
        with torch.no_grad():
            normed = F.rms_norm(self.table, self.table.shape[1:], eps=EPS)
            student.embed_tokens.weight.copy_(normed / student.scale)
            # The constant is the same for all tokens: read by the layers, it would make all texts alike.
            for name, weight in student.named_parameters():
                if "layernorm" in name:
                    weight[-1] = -1
            # dense = second @ first, in balance.
            u, s, vt = torch.linalg.svd(self.dense, full_matrices=False)
            first, second = student.dense.parameters()
            first.zero_()[: len(s)] = s.sqrt()[:, None] * vt
            second.zero_()[:, : len(s)] = u * s.sqrt()
        return student


def first_table(
    pieces: NDArray[np.float32], counts: NDArray[np.int64], special: list[int]
) -> Tensor:
    """The teacher's vectors of the pieces, cut and weighted by rarity, fp32 [vocabulary, hidden]."""
    content = torch.from_numpy(pieces[:, : GEOMETRY.hidden_size - 1].copy())
    probability = torch.from_numpy(counts / counts.sum()).float()
    content *= (COMMON / (COMMON + probability))[:, None]
    content[special] = 0
    mean_square = content.square().sum(1).mean()
    constant = (CONSTANT * mean_square).sqrt().expand(len(content), 1)
    return torch.cat((content, constant), 1).contiguous()


def train_bag(
    bag: Bag,
    tokens: Tokenized,
    targets: Tensor,
    steps: int,
    seed: int,
) -> Iterator[float]:
    """Adam over random texts, the prompts in front; the rate falls linearly to zero.

    Trains in place, a step for each loss that is taken.
    """
    optimizer = torch.optim.Adam(bag.parameters(), LEARNING_RATE, betas=(0.9, 0.99))
    prompts = list(tokens.prompts.values())
    rate = LEARNING_RATE * bag.table.detach().std().item()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        rng = np.random.default_rng([seed, step])
        rows = rng.integers(len(targets), size=TEXTS_A_STEP)
        texts = []
        for row, prompt in zip(rows, rng.integers(len(prompts), size=len(rows)), strict=True):
            titled = tokens.kinds[row] == "titled"
            texts += [[BOS], [] if titled else prompts[prompt], tokens.texts[row], [EOS]]
        ids = torch.from_numpy(np.concatenate(texts).astype(np.int64))
        sizes = np.add.reduceat([len(part) for part in texts], range(0, len(texts), 4))
        offsets = torch.from_numpy(np.cumsum([0, *sizes[:-1]]))
        loss = distillation_loss(
            bag(ids, offsets), targets[rows].float(), GEOMETRY.matryoshka_dimensions
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()
