"""Spans of tokens widened to whole characters."""

import numpy as np
import pytest

from gemwire_server.dialects.tei.tokens import TextTokens, whole_characters

TEXT = "aé🙂b"
SOURCE = TEXT.encode()
CHARACTERS = {0: (0, 1), 1: (1, 3), 2: (1, 3), **dict.fromkeys(range(3, 7), (3, 7)), 7: (7, 8)}


@pytest.mark.parametrize("byte", range(8))
def test_a_byte_belongs_to_its_character(byte: int) -> None:
    spans = np.array([[byte, byte + 1]], np.uint32)
    assert tuple(whole_characters(SOURCE, spans)[0]) == CHARACTERS[byte]


@pytest.mark.parametrize("first", range(8))
def test_spans_of_several_bytes(first: int) -> None:
    for last in range(first + 1, 9):
        begin, end = CHARACTERS[first][0], CHARACTERS[last - 1][1]
        spans = np.array([[first, last]], np.uint32)
        assert tuple(whole_characters(SOURCE, spans)[0]) == (begin, end)


def test_nothing_has_no_bytes() -> None:
    assert whole_characters(b"", np.zeros((2, 2), np.uint32)).tolist() == [[0, 0], [0, 0]]


def test_rows() -> None:
    spans = np.array([[0, 0], [0, 3], [1, 3], [0, 0]], np.int64)
    tokens = TextTokens(np.array([2, 7, 8, 1], np.int32), spans, SOURCE, {0: "<bos>", 3: "<eos>"})
    assert list(tokens.rows()) == [
        (2, "<bos>", None),
        (7, "aé", (0, 3)),
        (8, "é", (1, 3)),
        (1, "<eos>", None),
    ]
