"""Token ids against HF `tokenizers`, an independent engine, on the checkpoint's tokenizer.json."""

import json
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from numpy.typing import NDArray

from gemwire_mini import CHECKPOINT
from gemwire_server.checkpoints.synthetic.tokenizer import write_tokenizer
from gemwire_server.errors import InvalidInput
from gemwire_server.text.tokenizer import Tokenizer, Truncation
from support.texts import EDGES, random_text, random_texts
from support.tokenizer_folders import backend_of


def refusal(call: Callable[[], object]) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        call()
    return caught.value


def load(directory: Path, max_tokens: int = 2048, vocab_size: int = 2048) -> Tokenizer:
    return Tokenizer.load(directory, max_tokens=max_tokens, vocab_size=vocab_size)


@pytest.fixture(scope="module", params=["trained", "mini", "gemma"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tokenizer files, of the small vocabulary, gemwire-mini's and Gemma's."""
    if request.param == "mini":
        return CHECKPOINT
    if request.param == "trained":
        checkpoint: Path = request.getfixturevalue("tiny_checkpoint")
        return checkpoint
    made = tmp_path_factory.mktemp("gemma")
    write_tokenizer(made, request.getfixturevalue("gemma_tokenizer"), 262144)
    return made


@pytest.fixture(scope="module")
def reference(directory: Path) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> Tokenizer:
    return load(directory, max_tokens=4096, vocab_size=262144)


def test_sentencepiece_is_used_where_it_gives_the_same_ids(tokenizer: Tokenizer) -> None:
    assert backend_of(tokenizer) == "SentencePiece"


def test_ids_equal_those_of_hf_tokenizers(
    tokenizer: Tokenizer, reference: tokenizers.Tokenizer
) -> None:
    for text in EDGES + random_texts(3000):
        encoded = tokenizer.encode(text)
        assert encoded.ids.tolist() == reference.encode(text).ids, ascii(text)
        assert encoded.ids.dtype == np.int32 and not encoded.truncated


def test_prompt_and_text_are_one_string(
    tokenizer: Tokenizer, reference: tokenizers.Tokenizer
) -> None:
    prompt = "task: search result | query: "
    for text in ("planet", " planet", "\n", "<eos>"):
        expected = reference.encode(prompt + text).ids
        assert tokenizer.encode(text, prompt=prompt).ids.tolist() == expected


@pytest.mark.parametrize("limit", [8, 33])
def test_end_keeps_what_hf_truncation_keeps(
    directory: Path, reference: tokenizers.Tokenizer, limit: int
) -> None:
    tokenizer = load(directory, limit, 262144)
    reference = tokenizers.Tokenizer.from_str(reference.to_str())
    reference.enable_truncation(limit)
    cut = 0
    for text in random_texts(400):
        encoded = tokenizer.encode(text, prompt="q: ", truncation=Truncation.END)
        expected = reference.encode("q: " + text)
        assert encoded.ids.tolist() == expected.ids, ascii(text)
        assert encoded.truncated == bool(expected.overflowing)
        cut += encoded.truncated
    assert 50 < cut < 400


def test_start_keeps_the_prompt_and_the_last_tokens(
    directory: Path, reference: tokenizers.Tokenizer
) -> None:
    prompt, limit = "task: search result | query: ", 24
    tokenizer = load(directory, limit, 262144)
    head = reference.encode(prompt, add_special_tokens=False).ids
    for text in random_texts(300):
        joint = reference.encode(prompt + text, add_special_tokens=False).ids
        encoded = tokenizer.encode(text, prompt=prompt, truncation=Truncation.START)
        assert encoded.truncated == (len(joint) + 2 > limit)
        if encoded.truncated:
            joint = head + joint[len(head) - (limit - 2) :]
        assert encoded.ids.tolist() == [2, *joint, 1], ascii(text)


def test_a_huge_text_is_cut_like_the_whole_of_it(
    directory: Path, reference: tokenizers.Tokenizer
) -> None:
    limit = 16
    tokenizer = load(directory, limit, 262144)
    rng = random.Random(3)
    for _ in range(3):
        text = " ".join(random_text(rng) for _ in range(200))
        assert len(text) > 8 * limit * 31
        whole = reference.encode("q: " + text, add_special_tokens=False).ids
        head = reference.encode("q: ", add_special_tokens=False).ids
        for truncation, kept in (
            (Truncation.END, whole[: limit - 2]),
            (Truncation.START, head + whole[len(head) - (limit - 2) :]),
        ):
            encoded = tokenizer.encode(text, prompt="q: ", truncation=truncation)
            assert encoded.truncated and encoded.ids.tolist() == [2, *kept, 1]


def test_truncation_error_has_the_figures_and_not_the_text(tiny_checkpoint: Path) -> None:
    tokenizer = load(tiny_checkpoint, 16)
    assert len(tokenizer.encode("9" * 14).ids) == 16
    error = refusal(lambda: tokenizer.encode("9" * 13, prompt="77"))
    assert (error.reason, error.metadata) == ("TEXT_TOO_LONG", {"tokens": "17", "limit": "16"})
    assert "17 tokens" in error.message and "99" not in error.message
    assert len(tokenizer.encode("9" * 13, prompt="77", truncation=None).ids) == 17


class Recorder:
    """A backend of one-character pieces that notes what it is asked to tokenize."""

    size, longest, strips = 256, 10, False
    special: frozenset[int] = frozenset()

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def encode(self, text: str) -> NDArray[np.int32]:
        self.lengths.append(len(text))
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32)

    def spans(self, text: str, ids: NDArray[np.int32]) -> NDArray[np.int64]:
        return np.stack((np.arange(len(ids)), np.arange(len(ids)) + 1), axis=1)

    def id_of(self, piece: str) -> int | None:
        return ord(piece)

    def piece_of(self, token: int) -> str:
        return chr(token)


def test_a_huge_text_is_refused_untokenized() -> None:
    backend = Recorder()
    tokenizer = Tokenizer(backend, ((2,), (1,)), max_tokens=20, vocab_size=256)
    huge = "a" * 15_000_000
    for truncation in (Truncation.ERROR, None):
        error = refusal(lambda: tokenizer.encode(huge, prompt="q", truncation=truncation))  # noqa: B023
        assert error.reason == "TEXT_TOO_LONG"
        assert error.metadata == {"characters": "15000001", "limit": "20"}
    assert refusal(lambda: tokenizer.encode("a", prompt=huge)).reason == "PROMPT_TOO_LONG"
    assert backend.lengths == []
    for truncation in (Truncation.END, Truncation.START):
        assert len(tokenizer.encode(huge, truncation=truncation).ids) == 20
    assert max(backend.lengths) < 2000
    # One character more than 200, the most that 20 tokens can stand for, is known to be too long.
    assert refusal(lambda: tokenizer.encode("a" * 200)).metadata["tokens"] == "202"
    assert "tokens" not in refusal(lambda: tokenizer.encode("a" * 201)).metadata


def test_a_prompt_that_fills_the_window(tiny_checkpoint: Path) -> None:
    tokenizer = load(tiny_checkpoint, 16)
    for truncation in Truncation:
        error = refusal(lambda: tokenizer.encode("1", prompt="9" * 14, truncation=truncation))  # noqa: B023
        assert (error.reason, error.metadata["limit"]) == ("PROMPT_TOO_LONG", "16")
    cut = tokenizer.encode("12", prompt="9" * 13, truncation=Truncation.START)
    assert tokenizer.pieces(cut.ids) == ["<bos>", *"9999999999999", "2", "<eos>"]


def test_texts_that_are_none(tokenizer: Tokenizer) -> None:
    assert refusal(lambda: tokenizer.encode("", prompt="q: ")).reason == "EMPTY_TEXT"
    error = refusal(lambda: tokenizer.encode("ab\ud800", prompt="q: "))
    assert (error.reason, error.__cause__, error.__context__) == ("INVALID_TEXT", None, None)
    assert refusal(lambda: tokenizer.encode("a", prompt="\udfff")).reason == "INVALID_TEXT"


def test_ids_in_place_of_text(tiny_checkpoint: Path) -> None:
    tokenizer = load(tiny_checkpoint, 8)
    prompt = tokenizer.encode("12").ids[1:-1].tolist()
    for ids, options, expected in (
        ([5, 6], {"complete": True}, [5, 6]),
        ([5, 6], {"complete": True, "prompt": "12"}, [5, 6]),
        ([5, 6], {}, [2, 5, 6, 1]),
        ([5, 6], {"prompt": "12"}, [2, *prompt, 5, 6, 1]),
    ):
        encoded = tokenizer.encode_ids(ids, **options)
        assert encoded.ids.tolist() == expected and encoded.ids.dtype == np.int32
        assert not encoded.truncated
    ids = list(range(10, 20))
    for options, end, start in (
        ({"complete": True}, ids[:8], ids[2:]),
        ({"prompt": "12"}, [2, *prompt, *ids[:4], 1], [2, *prompt, *ids[6:], 1]),
    ):
        error = refusal(lambda: tokenizer.encode_ids(ids, **options))  # noqa: B023
        assert error.reason == "TEXT_TOO_LONG"
        for truncation, expected in ((Truncation.END, end), (Truncation.START, start)):
            encoded = tokenizer.encode_ids(ids, truncation=truncation, **options)
            assert encoded.truncated and encoded.ids.tolist() == expected
        whole = tokenizer.encode_ids(ids, truncation=None, **options)
        assert len(whole.ids) > 8 and not whole.truncated


@pytest.mark.parametrize(("ids", "index"), [([2048], 0), ([0, 2047, -1], 2), ([2**32 - 1], 0)])
def test_ids_out_of_the_vocabulary(tiny_checkpoint: Path, ids: list[int], index: int) -> None:
    error = refusal(lambda: load(tiny_checkpoint).encode_ids(ids))
    assert (error.reason, error.metadata["index"]) == ("TOKEN_ID_OUT_OF_RANGE", str(index))
    assert refusal(lambda: load(tiny_checkpoint).encode_ids([])).reason == "EMPTY_TEXT"


def test_pieces(tiny_checkpoint: Path) -> None:
    tokenizer = load(tiny_checkpoint, vocab_size=2050)
    pieces = tokenizer.pieces(tokenizer.encode(" 1\n\n2<pad>").ids)
    assert pieces == ["<bos>", "▁", "1", "\n\n", "2", "<pad>", "<eos>"]
    assert tokenizer.pieces([2047, 2048]) == [pieces_of_last(tiny_checkpoint), ""]


def pieces_of_last(directory: Path) -> str:
    vocab = json.loads((directory / "tokenizer.json").read_text())["model"]["vocab"]
    return next(str(piece) for piece, token in vocab.items() if token == 2047)


def test_threads_do_not_disturb_each_other(tokenizer: Tokenizer) -> None:
    texts = random_texts(300)
    expected = [tokenizer.encode(text).ids.tolist() for text in texts]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: tokenizer.encode(text).ids.tolist(), texts * 4))
    assert found == expected * 4


def test_tokenizer_json_alone_gives_the_same(tiny_checkpoint: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_checkpoint / name, tmp_path)
    one, other = load(tiny_checkpoint), load(tmp_path)
    for text in EDGES + random_texts(300):
        assert np.array_equal(one.encode(text).ids, other.encode(text).ids), ascii(text)
    ids = list(range(2048))
    assert one.pieces(ids) == other.pieces(ids)


@pytest.mark.parametrize("alone", [False, True])
def test_small_letters_are_those_of_hf_lowercase(
    tiny_checkpoint: Path, tmp_path: Path, alone: bool
) -> None:
    """As sentence-transformers reads `do_lower_case`; a special token that is spelled stays one."""
    shutil.copytree(tiny_checkpoint, tmp_path, dirs_exist_ok=True)
    expected = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    expected.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Lowercase(), expected.normalizer]
    )
    if alone:
        (tmp_path / "tokenizer.model").unlink()
    tokenizer = Tokenizer.load(tmp_path, max_tokens=2048, vocab_size=2048, lower=True)
    shouted = ["MARS", "ΟΔΥΣΣΕΥΣ ΣΑΣ", "İSTANBUL", "ẞ", "<BOS> <bos>", "title: none | text: Mars"]
    for text in [*shouted, *EDGES, *random_texts(200)]:
        assert tokenizer.encode(text).ids.tolist() == expected.encode(text).ids, repr(text)
