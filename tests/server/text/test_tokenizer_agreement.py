"""SentencePiece is taken for tokenizer.json only where both give the same ids for every text."""

import io
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from tokenizers.normalizers import Lowercase, Sequence

from gemwire_server.checkpoints.synthetic.tokenizer import convert
from gemwire_server.text.agreement import Disagreement, agree
from gemwire_server.text.backends import SentencePieceBackend
from gemwire_server.text.sentencepiece_model import KIND, Pieces
from gemwire_server.text.tokenizer_files import AddedToken

ROWS = 1000
RUNS = ["▁" * n for n in range(2, 6)]
SYMBOLS = ["▁▁", "▁▁▁▁", "\n", "\n\n", "ab", "<a", "a>", "<ab>", "▁a", "aab", ">", "<pa"]
CONTROLS = ["<mask>", "<x>", "ab<", "a▁"]
ALPHABETS = ["ab", "abc", "aab <", "abcdef \n<>", "ab▁", "hapy "]
Raw = dict[str, Any]


def trained(
    texts: list[str], pieces: int, symbols: list[str], controls: list[str], **options: Any
) -> ModelProto:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=pieces,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        unk_piece="<unk>",
        control_symbols=controls,
        user_defined_symbols=symbols,
        byte_fallback=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return ModelProto.FromString(model.getvalue())


class Pair:
    """A tokenizer.model and the tokenizer.json beside it, each edited, as both libraries read them."""

    def __init__(
        self, model: ModelProto, raw: Raw, directory: Path, *, lower: bool = False
    ) -> None:
        (directory / "tokenizer.model").write_bytes(model.SerializeToString())
        self.pieces = Pieces.read(directory / "tokenizer.model")
        added = [AddedToken(**token) for token in raw["added_tokens"]]
        self.reason: str | None = None
        runs = None
        try:
            runs = agree(self.pieces, raw["model"], added, ROWS, lower=lower)
        except Disagreement as error:
            self.reason = str(error)
        self.ours = SentencePieceBackend(self.pieces, runs, lower=lower)
        self.theirs = tokenizers.Tokenizer.from_str(json.dumps(raw))
        if lower:
            self.theirs.normalizer = Sequence([Lowercase(), self.theirs.normalizer])

    def same(self, text: str) -> bool:
        expected: list[int] = self.theirs.encode(text, add_special_tokens=False).ids
        return bool(self.ours.encode(text).tolist() == expected)


def random_model(rng: random.Random, alphabet: str) -> ModelProto:
    texts = ["a" + "".join(rng.choices(alphabet + "  ", k=rng.randint(5, 60))) for _ in range(150)]
    symbols = rng.choice([[], RUNS, RUNS[: rng.randint(1, 4)], rng.sample(SYMBOLS, 2)])
    symbols = sorted({*symbols, *rng.sample(SYMBOLS, rng.choice([0, 0, 1, 2]))})
    controls = rng.sample(CONTROLS, rng.choice([0, 0, 1]))
    return trained(
        texts,
        rng.randint(290, 420),
        symbols,
        [token for token in controls if token not in symbols],
        split_by_whitespace=rng.random() < 0.7,
    )


def disturb(rng: random.Random, raw: Raw) -> None:
    """Often nothing; else a merge taken out or moved, or the runs in the order of transformers 5."""
    merges = raw["model"]["merges"]
    i, j = rng.randrange(len(merges)), rng.randrange(len(merges))
    kind = rng.random()
    if kind < 0.1:
        del merges[i]
    elif kind < 0.2:
        merges[i], merges[j] = merges[j], merges[i]
    elif kind < 0.3:
        merges.insert(j, merges.pop(i))
    elif kind < 0.5:
        runs = [merge for merge in merges if {*"".join(merge)} == {"▁"}]
        runs.sort(key=lambda merge: len("".join(merge)))
        merges[:] = runs + [merge for merge in merges if merge not in runs]


def random_text(rng: random.Random, words: list[str], alphabet: str) -> str:
    parts = []
    for _ in range(rng.randint(1, 7)):
        parts.append(rng.choice(words))
        parts.append(rng.choice(" ▁\n") * rng.choice([0, 0, 1, 2, 5, 9, 20]))
        parts.append("".join(rng.choices(alphabet + " ▁A", k=rng.randint(0, 9))))
    return "".join(parts) or "a"


def test_where_no_difference_is_found_all_ids_are_equal(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    equal, different = 0, 0
    while equal < 12:
        rng = random.Random(seed)
        alphabet = rng.choice(ALPHABETS)
        model = random_model(rng, alphabet)
        raw = json.loads(convert(model.SerializeToString(), ROWS).to_str())
        disturb(rng, raw)
        pair = Pair(model, raw, tmp_path, lower=rng.random() < 0.2)
        if pair.reason is None:
            words = [name.replace("▁", " ") for name in pair.pieces.names]
            words += ["AB", "<BOS>", "▁", "▁▁", "é", "<0x41>"]
            for _ in range(150):
                text = random_text(rng, words, alphabet)
                assert pair.same(text), (seed, ascii(text))
            equal += 1
        else:
            different += 1
        seed += 1
    assert different > 0


def score_of_another(model: ModelProto, raw: Raw) -> None:
    model.pieces[-1].score = model.pieces[-2].score


def unused(model: ModelProto, raw: Raw) -> None:
    model.pieces[-1].type = KIND.UNUSED


def late_run(model: ModelProto, raw: Raw) -> None:
    raw["model"]["merges"].append(
        raw["model"]["merges"].pop(raw["model"]["merges"].index(["▁", "▁"]))
    )


def swapped(model: ModelProto, raw: Raw) -> None:
    merges = raw["model"]["merges"]
    merges[-1], merges[-40] = merges[-40], merges[-1]


def another_piece(model: ModelProto, raw: Raw) -> None:
    vocab = raw["model"]["vocab"]
    vocab["he"], vocab["th"] = vocab["th"], vocab["he"]


@pytest.mark.parametrize(
    ("change", "reason", "text"),
    [
        (lambda model, raw: None, None, ""),
        (another_piece, "vocabularies differ", "he"),
        (lambda model, raw: raw["model"]["merges"].pop(), "a merge is missing", ""),
        (swapped, "another order than the scores", ""),
        (late_run, "a merge of '▁' comes late", "  oft"),
        (score_of_another, "the same score", ""),
        (unused, "unused pieces", ""),
        (lambda model, raw: raw["added_tokens"].pop(), "added token '.*' is in one", ""),
        (lambda model, raw: raw["added_tokens"][0].update(lstrip=True), "not match plainly", " <pad>"),
        (lambda model, raw: raw["added_tokens"][0].update(single_word=True), "not match plainly",
         "a<pad>"),
    ],
)  # fmt: skip
def test_a_difference_is_named(
    tmp_path: Path,
    change: Callable[[ModelProto, Raw], object],
    reason: str | None,
    text: str,
) -> None:
    """And is one, where a text that shows it is known."""
    words = ["the hen then thinks of others", "this other path with teeth", "he that hath"] * 9
    model = trained(words, 330, RUNS, ["<mask>"])
    raw = json.loads(convert(model.SerializeToString(), ROWS).to_str())
    change(model, raw)
    pair = Pair(model, raw, tmp_path)
    if reason is None:
        assert pair.reason is None and pair.same("  then the   others")
        return
    assert pair.reason is not None
    assert re.search(reason, pair.reason)
    assert not text or not pair.same(text)
