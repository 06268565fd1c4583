"""The places of tokens in a text, against the offsets of transformers' fast tokenizer."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from numpy.typing import NDArray

from gemwire_server.text.prompts import TASKS
from gemwire_server.text.tokenizer import Encoded, Tokenizer, Truncation
from support.texts import EDGES, SPELLED, random_text
from support.tokenizer_folders import added, copy, edit, load

ROWS = 262_144
SEED = random.randrange(1 << 32)
PROMPTS = ["", *(card for _, card in TASKS.values()), "title: a 🚀 | text: ", "no space"]
TEXTS = [
    "Mars", " Mars", "e\u0301 \u0301", "日本語のテキスト", "😀🇩🇪", "a  b\t\tc\n\n\nd\r\n",
    "x<bos>y <eos>", "\U0010ffff\ue000", "a▁b ▁▁ c", " " * 40 + "end" + " " * 70, *SPELLED, *EDGES,
]  # fmt: skip


def texts(count: int) -> list[str]:
    rng = random.Random(SEED)
    return TEXTS + [random_text(rng) for _ in range(count)]


def spans_of(encoded: Encoded) -> NDArray[np.uint32]:
    spans = encoded.spans
    assert spans is not None and spans.dtype == np.uint32 and len(spans) == len(encoded.ids)
    return spans


def in_text(spans: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Spans of the tokens that stand for something of the text, which lie together."""
    inside = np.flatnonzero(spans[:, 1])
    assert np.array_equal(inside, np.arange(inside[0], inside[-1] + 1))
    return spans[inside]


def assert_tiles(spans: NDArray[np.uint32], text: str) -> None:
    """The spans are sorted, leave no gap, and together are the text."""
    found, raw = in_text(spans), text.encode()
    assert b"".join(raw[begin:end] for begin, end in found) == raw, (SEED, ascii(text))
    assert found[0, 0] == 0 and (found[1:, 0] == found[:-1, 1]).all(), (SEED, ascii(text))
    assert (found[:, 0] < found[:, 1]).all(), (SEED, ascii(text))


def in_characters(spans: NDArray[np.uint32], text: str) -> list[tuple[int, int]]:
    """Spans in characters; the byte of a character becomes the character."""
    owner = [i for i, char in enumerate(text) for _ in char.encode()]
    return [(owner[begin], owner[end - 1] + 1) if end else (0, 0) for begin, end in spans.tolist()]


def test_spans_are_the_offsets_of_transformers(by_backend: Tokenizer, by_transformers: Any) -> None:
    rng = random.Random(SEED)
    for text in texts(400):
        prompt = rng.choice(PROMPTS)
        expected = by_transformers(
            prompt + text, return_offsets_mapping=True, return_special_tokens_mask=True
        )
        encoded = by_backend.encode(text, prompt=prompt, truncation=None, spans=True)
        assert encoded.ids.tolist() == expected["input_ids"]
        spans = spans_of(encoded)
        assert_tiles(spans, text)
        shift = len(prompt)
        offsets = [
            (max(a - shift, 0), b - shift) if b > shift else (0, 0)
            for a, b in expected["offset_mapping"]
        ]
        assert in_characters(spans, text) == offsets, (SEED, ascii(prompt + text))


def test_the_tokens_of_bytes_have_a_byte_each(by_backend: Tokenizer) -> None:
    found = 0
    for text in texts(300):
        encoded = by_backend.encode(text, truncation=None, spans=True)
        raw = text.encode()
        pieces = by_backend.pieces(encoded.ids)
        for piece, (begin, end) in zip(pieces, spans_of(encoded).tolist(), strict=True):
            part = raw[begin:end]
            if len(piece) == 6 and piece.startswith("<0x"):
                assert part == bytes([int(piece[3:5], 16)]), (SEED, ascii(text))
                found += 1
            elif part:
                assert part.decode().replace(" ", "▁") == piece, (SEED, ascii(text))
    assert found > 100


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_prompt_has_no_spans_of_its_own(by_backend: Tokenizer, prompt: str) -> None:
    """Where one token covers the end of the prompt and the start of the text, its span is in the text."""
    for text in ("Mars", " Mars", "space", "\n\nx", "<bos>a"):
        encoded = by_backend.encode(text, prompt=prompt, spans=True)
        assert_tiles(spans_of(encoded), text)
        alone = len(by_backend.encode(prompt).ids) - 2 if prompt else 0
        before = int(np.argmax(spans_of(encoded)[:, 1] > 0))
        assert before <= 1 + alone and not spans_of(encoded)[[0, -1]].any()


@pytest.mark.parametrize("limit", [18, 40])
def test_what_is_cut_keeps_its_places(by_backend: Tokenizer, limit: int) -> None:
    cut = Tokenizer(by_backend._backend, ((2,), (1,)), max_tokens=limit, vocab_size=ROWS)
    prompt, alike = "query: ", 0
    for text in texts(150):
        whole = by_backend.encode(text, prompt=prompt, truncation=None, spans=True)
        end = cut.encode(text, prompt=prompt, truncation=Truncation.END, spans=True)
        count = len(end.ids) - 1
        assert np.array_equal(spans_of(end)[:count], spans_of(whole)[:count])
        start = cut.encode(text, prompt=prompt, truncation=Truncation.START, spans=True)
        assert start.truncated == end.truncated
        if not start.truncated:
            assert np.array_equal(spans_of(start), spans_of(whole))
            continue
        lead = 1 + len(by_backend.encode(prompt).ids) - 2
        assert not spans_of(start)[:lead].any()
        kept = spans_of(start)[lead:]
        # A text of one letter, over and over, is cut otherwise where its beginning is not read.
        if np.array_equal(start.ids[lead:], whole.ids[lead - limit :]):
            assert np.array_equal(kept, spans_of(whole)[lead - limit :])
            alike += 1
        assert (kept[1:-1, 0] == kept[:-2, 1]).all() and kept[-2, 1] == len(text.encode())
        assert not kept[-1].any()
    assert alike > 30


def test_a_huge_text_that_is_cut_at_its_start(by_backend: Tokenizer) -> None:
    """The beginning is not tokenized, and counts all the same."""
    rng = random.Random(SEED)
    cut = Tokenizer(by_backend._backend, ((2,), (1,)), max_tokens=20, vocab_size=ROWS)
    for _ in range(3):
        text = " ".join(random_text(rng) for _ in range(600)) + " the end 🚀"
        assert len(text) > 20 * by_backend._backend.longest
        encoded = cut.encode(text, prompt="q: ", truncation=Truncation.START, spans=True)
        whole = by_backend._backend.spans(text, by_backend._backend.encode(text))
        kept = in_text(spans_of(encoded))
        assert np.array_equal(kept, whole[-len(kept) :]), SEED


@pytest.mark.parametrize("alone", [False, True])
def test_a_character_that_is_lowered_to_several_tokens(
    tiny_checkpoint: Path, tmp_path: Path, alone: bool
) -> None:
    """With another number of bytes in small letters: each of its tokens stands for it whole.

    U+0130 becomes an "i", which may be in a token with letters before it, and two tokens of bytes.
    """
    folder = copy(tiny_checkpoint, tmp_path / "tiny")
    expected = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    expected.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Lowercase(), expected.normalizer]
    )
    if alone:
        (folder / "tokenizer.model").unlink()
    tokenizer = load(folder, lower=True)
    for text in ["İSTANBUL İ", "ẞ É Ⱥ", "K <BOS> <bos>X", "ΟΔΥΣΣΕΥΣ ▁▁ A", *texts(200)]:
        encoded = tokenizer.encode(text, spans=True, truncation=None)
        found = in_characters(spans_of(encoded), text)
        assert found[1:-1] == expected.encode(text, add_special_tokens=False).offsets, ascii(text)
    ended = tokenizer.encode("tabl\u0130", spans=True)
    assert spans_of(ended)[-4:-1].tolist() == [[3, 6], [4, 6], [4, 6]]
    encoded = tokenizer.encode("É\U00010400", spans=True)  # as many bytes in small letters
    assert_tiles(spans_of(encoded), "É\U00010400")


def test_white_space_that_belongs_to_a_token(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = copy(tiny_checkpoint, tmp_path / "tiny")
    token = added("[ENT]", 2048, lstrip=True, rstrip=True)
    edit(folder / "tokenizer.json", lambda raw: raw["added_tokens"].append(token))
    tokenizer = load(folder)
    for text in ("a [ENT]  b", "  [ENT]", "[ENT][ENT] é", "🚀\n[ENT]\t🚀"):
        encoded = tokenizer.encode(text, spans=True)
        assert 2048 in encoded.ids
        assert_tiles(spans_of(encoded), text)


def test_spans_are_made_only_when_asked_for(by_backend: Tokenizer) -> None:
    assert by_backend.encode("a").spans is None
    assert by_backend.encode_ids([5, 6]).spans is None
