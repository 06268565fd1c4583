"""Token ids back to text, against transformers' `decode`."""

import random
from pathlib import Path
from typing import Any

import pytest

from gemwire_server.errors import InvalidInput
from gemwire_server.text.tokenizer import Tokenizer
from support.texts import EDGES, SPELLED, random_text

ROWS = 262_144
SEED = random.randrange(1 << 32)


def plain_texts(count: int) -> list[str]:
    """Texts without special tokens; "▁" is left out, which every tokenizer of Gemma reads as a space."""
    rng = random.Random(SEED)
    found = [*EDGES, *(random_text(rng) for _ in range(count))]
    return [text for text in found if "▁" not in text and not any(s in text for s in SPELLED)]


def test_a_text_comes_back(by_backend: Tokenizer) -> None:
    texts = plain_texts(1500)
    assert len(texts) > 300
    for text in texts:
        ids = by_backend.encode(text, truncation=None).ids
        assert by_backend.text_bytes(ids.tolist()).decode() == text, (SEED, ascii(text))


@pytest.mark.parametrize("keep", [False, True])
def test_the_text_is_that_of_transformers(
    by_backend: Tokenizer, by_transformers: Any, keep: bool
) -> None:
    """On texts that spell special tokens, and on pieces at random."""
    rng = random.Random(SEED)
    of_bytes = {*by_transformers.convert_tokens_to_ids([f"<0x{byte:02X}>" for byte in range(256)])}
    whole = [i for i in range(len(by_transformers)) if i not in of_bytes]
    cases = [rng.choices(whole, k=rng.randint(1, 30)) for _ in range(300)]
    for _ in range(300):
        cases.append(by_backend.encode(random_text(rng), truncation=None).ids.tolist())
    for ids in cases:
        expected = by_transformers.decode(
            ids, skip_special_tokens=not keep, clean_up_tokenization_spaces=False
        )
        found = by_backend.text_bytes(ids, keep_special_tokens=keep).decode()
        assert found == expected, (SEED, ids)


def test_special_tokens_are_left_out_unless_they_are_kept(tiny_checkpoint: Path) -> None:
    tokenizer = Tokenizer.load(tiny_checkpoint, max_tokens=64, vocab_size=2048)
    ids = tokenizer.encode("a<eos> b<start_of_turn>").ids.tolist()
    assert tokenizer.text_bytes(ids) == b"a b"
    kept = tokenizer.text_bytes(ids, keep_special_tokens=True)
    assert kept == b"<bos>a<eos> b<start_of_turn><eos>"


def test_parts_join_to_the_whole(tiny_checkpoint: Path) -> None:
    """Also where a character is in two of them."""
    tokenizer = Tokenizer.load(tiny_checkpoint, max_tokens=64, vocab_size=2048)
    ids = tokenizer.encode("x 😀🚀 é").ids.tolist()
    for at in range(len(ids)):
        whole = tokenizer.text_bytes(ids[:at]) + tokenizer.text_bytes(ids[at:])
        assert whole.decode() == "x 😀🚀 é"


def test_ids_that_the_vocabulary_lacks(tiny_checkpoint: Path) -> None:
    tokenizer = Tokenizer.load(tiny_checkpoint, max_tokens=64, vocab_size=2050)
    assert tokenizer.text_bytes([]) == tokenizer.text_bytes([2048, 2049]) == b""
    with pytest.raises(InvalidInput) as caught:
        tokenizer.text_bytes([5, 2050, 2051], first=100)
    assert (caught.value.reason, caught.value.metadata["index"]) == ("TOKEN_ID_OUT_OF_RANGE", "101")
