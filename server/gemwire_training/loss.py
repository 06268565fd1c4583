"""What makes a student's vectors like the teacher's."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

# Of the similarities' mean squared error beside the mean cosine distance.
SIMILARITY_WEIGHT = 20.0


def word_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cos(student, teacher), each as one long vector of what it says of a batch's words: fp32
    [words, d] both, each in a scale of its own. Of no words, 0.

    A text is the mean of its words for both, and thousands of words teach more than hundreds of texts.
    """
    if not len(teacher):
        return student.sum()
    return 1 - F.cosine_similarity(student.flatten(), teacher.flatten(), dim=0)


def distillation_loss(student: Tensor, teacher: Tensor, sizes: Sequence[int]) -> Tensor:
    """Mean of 1 - cos(student, teacher), and at every Matryoshka size the squared error of the
    batch's similarity matrix (arXiv:1907.09682, arXiv:2205.13147).

    Unit vectors, fp32 [n, d] both; the teacher's full similarities are the target at each size.
    """
    loss = 1 - (student * teacher).sum(-1).mean()
    target = teacher @ teacher.T
    pairs = max(1, len(target) * (len(target) - 1))  # on the diagonal both are 1
    for size in sizes:
        short = F.normalize(student[:, :size], dim=-1)
        error = short @ short.T - target
        loss = loss + SIMILARITY_WEIGHT / len(sizes) * error.square().sum() / pairs
    return loss
