"""Texts as token ids that carry a number, and perhaps a fault for the fake device to commit."""

import enum

import numpy as np
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb

BOS, EOS, FILLER = 2, 1, 300
BASE = 1024
FIRST_DIGIT = 512
FEWEST_TOKENS, LONGEST = 5, 2048


class Fault(enum.IntEnum):
    """Ids at the end of the tiny checkpoint's vocabulary, which no text of words has."""

    RAISE = 2040
    NAN = 2041
    LOST = 2042  # the device is gone for good
    HANG = 2043
    KILL = 2044  # SIGKILL, of the process that computes
    ABORT = 2045  # SIGABRT, as CUDA and C++ do
    EXIT = 2046
    NARROW = 2047  # the step's vectors lack a dimension, which only the server's own code notices


def marked(number: int, tokens: int = 8, fault: Fault | None = None) -> pb.EmbedInput:
    """A text of `tokens` tokens, 5 to 2,048; `number` is below 2**20."""
    ids = [BOS, FIRST_DIGIT + number // BASE, FIRST_DIGIT + number % BASE, int(fault or FILLER)]
    ids += [FILLER] * (tokens - FEWEST_TOKENS) + [EOS]
    return pb.EmbedInput(tokens=pb.TokenIds(ids=ids, complete=True))


def number_of(ids: NDArray[np.int32]) -> int:
    """The number of a text, -1 if it has none."""
    if len(ids) < FEWEST_TOKENS:
        return -1
    high, low = int(ids[1]) - FIRST_DIGIT, int(ids[2]) - FIRST_DIGIT
    return high * BASE + low if 0 <= high < BASE and 0 <= low < BASE else -1
