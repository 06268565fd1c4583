"""Tokenizer files that are missing, contradict each other or say what is not implemented."""

import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemwire_server.errors import CheckpointError, InvalidInput
from gemwire_server.text.tokenizer import Tokenizer, Truncation
from support.tokenizer_folders import Edit, added, backend_of, copy, edit, load

SAMPLE = "Jupiter\n\n  <bos>ß🚀\t\0 <pad>▁▁ 12"


def append(token: dict[str, Any]) -> Edit:
    return lambda raw: raw["added_tokens"].append(token)


def without(*contents: str) -> Edit:
    def remove(raw: dict[str, Any]) -> None:
        raw["added_tokens"] = [t for t in raw["added_tokens"] if t["content"] not in contents]

    return remove


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return copy(tiny_checkpoint, tmp_path / "folder")


@pytest.mark.parametrize("left", ["tokenizer.model", "tokenizer.json"])
def test_files_that_are_missing_or_wrong(folder: Path, left: str) -> None:
    for name in ("tokenizer.model", "tokenizer.json"):
        if name != left:
            (folder / name).unlink()
    with pytest.raises(CheckpointError, match="2048 pieces; the model has 2000 tokens"):
        load(folder, 2000)
    (folder / left).write_text("{}")
    with pytest.raises(CheckpointError, match=f"not a (SentencePiece model|{left})"):
        load(folder)
    (folder / left).write_text("[]")
    with pytest.raises(CheckpointError, match=r"not a SentencePiece model|JSON object"):
        load(folder)
    (folder / left).unlink()
    with pytest.raises(CheckpointError, match="neither tokenizer"):
        load(folder)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"normalizer": {"type": "NFC"}}, "normalizer ' ' to '▁'"),
        ({"normalizer": None}, "normalizer ' ' to '▁'"),
        ({"model": {"type": "WordPiece", "byte_fallback": False}}, "only BPE with byte_fallback"),
        ({"pre_tokenizer": {"type": "Digits", "individual_digits": True}}, "pre-tokenizer Digits"),
        (lambda raw: raw["model"].update(byte_fallback=False), "only BPE with byte_fallback"),
        (lambda raw: raw["model"].update(dropout=0.1), "dropout 0.1 of BPE"),
        (lambda raw: raw["model"].update(ignore_merges=True), "ignore_merges True of BPE"),
        (lambda raw: raw["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix '</w>'"),
        (lambda raw: raw["model"]["vocab"].pop("<0x41>"), "all 256 bytes"),
        (lambda raw: raw["model"]["merges"].append(["a"]), "not a tokenizer.json"),
        (lambda raw: raw["model"].pop("merges"), "not a tokenizer.json"),
        (lambda raw: raw.pop("added_tokens"), "not a tokenizer.json"),
        (append({"id": 2048}), "not a tokenizer.json"),
        (append(added("[ENT]", 2060)), r"'\[ENT\]' has id 2060, but tokenizers reads it as 2048"),
        (append(added("[ENT]", 7)), r"'\[ENT\]' has id 7"),
        (without("<bos>"), "'<bos>'.* is no added token of tokenizer.json"),
        (without("<mask>"), "'<mask>' .mask_token. is no added token"),
        (lambda raw: raw["post_processor"]["single"].append(raw["post_processor"]["single"][1]),
         "post-processor that does more"),
        (lambda raw: raw["post_processor"]["special_tokens"]["<bos>"].update(ids=[9000]),
         "adds token 9000; the model has 2100"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("alone", [False, True])
def test_what_of_tokenizer_json_is_refused(
    folder: Path, raw: dict[str, Any] | Edit, message: str, alone: bool
) -> None:
    """Also beside a tokenizer.model that could be read, but is not what transformers reads."""
    if alone:
        (folder / "tokenizer.model").unlink()
    if callable(raw):
        edit(folder / "tokenizer.json", raw)
    else:
        edit(folder / "tokenizer.json", **raw)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


ENT = {"content": "[ENT]", "__type": "AddedToken"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tokenizer_class": "LlamaTokenizer"}, "tokenizer_class 'LlamaTokenizer'"),
        ({"fast_tokenizer_files": ["tokenizer.5.0.0.json", "tokenizer.json"]}, "fast_tokenizer_files"),
        ({"init_inputs": ["x"]}, "init_inputs"),
        ({"mask_token": "[ENT]"}, "'.ENT.' .mask_token. is no added token"),
        ({"image_token": ENT}, "'.ENT.' .image_token. is no added token"),
        ({"additional_special_tokens": ["[ENT]"]}, "'.ENT.' .additional_special_tokens"),
        ({"extra_special_tokens": {"ent_token": "[ENT]"}}, "'.ENT.' .extra_special_tokens"),
        ({"added_tokens_decoder": {}}, "added_tokens_decoder and tokenizer.json differ"),
        ({"added_tokens_decoder": {"2048": added("[ENT]")}}, "added_tokens_decoder and tokenizer"),
        ({"added_tokens_decoder": {"2": "<bos>"}}, "not a list of added tokens"),
    ],
)  # fmt: skip
def test_what_of_tokenizer_config_json_is_refused(
    folder: Path, config: dict[str, Any], message: str
) -> None:
    edit(folder / "tokenizer_config.json", **config)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"split_special_tokens": True}, "split_special_tokens is true: not implemented without"),
        ({"bos_token": None}, "add_bos_token is true, but there is no bos_token"),
        ({"bos_token": "<s>"}, "'<s>' .bos_token. is no added token of tokenizer.model"),
        ({"added_tokens_decoder": {"2048": added("[ENT]")}}, "added token '.ENT.' is not there"),
        ({"added_tokens_decoder": {"2": added("<bos>", lstrip=True)}}, "added token '<bos>' is not"),
    ],
)  # fmt: skip
def test_what_is_refused_of_tokenizer_model_alone(
    folder: Path, config: dict[str, Any], message: str
) -> None:
    (folder / "tokenizer.json").unlink()
    edit(folder / "tokenizer_config.json", **config)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_a_class_that_config_json_names(folder: Path) -> None:
    edit(folder / "config.json", tokenizer_class="LlamaTokenizer")
    load(folder)
    edit(folder / "tokenizer_config.json", drop=["tokenizer_class"])
    with pytest.raises(CheckpointError, match="tokenizer_class 'LlamaTokenizer'"):
        load(folder)


def test_other_lists_of_tokens(folder: Path) -> None:
    """The files of older versions: what they add beyond tokenizer.json is refused, the rest is not."""
    older, named = folder / "added_tokens.json", folder / "special_tokens_map.json"
    older.write_text('{"<mask>": 4}')
    named.write_text('{"mask_token": {"content": "<mask>", "lstrip": true}}')
    expected = load(folder).encode(SAMPLE).ids
    older.write_text('{"[ENT]": 2048}')
    with pytest.raises(CheckpointError, match=r"added_tokens[.]json and tokenizer[.]json differ"):
        load(folder)
    edit(folder / "tokenizer.json", append(added("[ENT]", 2048)))
    assert np.array_equal(load(folder).encode(SAMPLE).ids, expected)
    named.write_text('{"additional_special_tokens": ["[TWO]"]}')
    with pytest.raises(CheckpointError, match=r"'\[TWO\]' .additional_special_tokens"):
        load(folder)


def test_a_whole_list_of_added_tokens_is_accepted(folder: Path) -> None:
    """As transformers 4 writes it; <image_soft_token>, past the embedding, is in it."""
    image = added("<image_soft_token>", 2048, special=True)
    edit(folder / "tokenizer.json", append(image))
    decoder: dict[str, Any] = {}

    def collect(raw: dict[str, Any]) -> None:
        for token in raw["added_tokens"]:
            decoder[str(token["id"])] = {k: v for k, v in token.items() if k != "id"}

    edit(folder / "tokenizer.json", collect)
    decoder.pop("2048")  # it has no row
    decoder["3"] |= {"special": False}  # nor does this change an id
    edit(folder / "tokenizer_config.json", added_tokens_decoder=decoder)
    edit(
        folder / "tokenizer.json",
        lambda raw: raw["model"]["vocab"].update({image["content"]: 2048}),
    )
    tokenizer = load(folder, 2048)
    assert backend_of(tokenizer) == "SentencePiece"
    (folder / "tokenizer.model").unlink()
    text = f"a{image['content']}"
    assert np.array_equal(tokenizer.encode(text).ids, load(folder, 2048).encode(text).ids)
    assert tokenizer.encode(text).ids.max() < 2048


def test_a_token_without_a_row_stays_text(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "tokenizer.model").unlink()
    edit(folder / "tokenizer.json", append(added("<image_soft_token>", 2048)))
    assert load(folder, 2048).encode("<image_soft_token>").ids.max() < 2048
    assert not caplog.records
    edit(folder / "tokenizer.json", append(added("[ENT]", 2049)))
    assert load(folder, 2048).encode("[ENT]").ids.max() < 2048
    assert "no row in the model's embedding" in caplog.text and "[ENT]" in caplog.text
    assert load(folder, 2050).encode("[ENT]").ids.max() == 2049


def test_one_line_says_why_tokenizer_model_is_not_used(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert backend_of(load(folder)) == "SentencePiece" and not caplog.records
    edit(folder / "tokenizer.json", append(added("[ENT]", 2048)))
    assert backend_of(load(folder)) == "HuggingFace"
    assert len(caplog.records) == 1
    assert "tokenizer.json decides" in caplog.text and "'[ENT]'" in caplog.text
    (folder / "tokenizer.model").write_text("damaged")
    assert backend_of(load(folder)) == "HuggingFace"
    assert "not a SentencePiece model" in caplog.text


def test_white_space_that_belongs_to_a_token(folder: Path) -> None:
    """A token may take any length of it: a text that is long in characters alone is not cut wrongly."""
    edit(folder / "tokenizer.json", append(added("[ENT]", 2048, lstrip=True, rstrip=True)))
    tokenizer = Tokenizer.load(folder, max_tokens=8, vocab_size=2100)
    end = tokenizer.encode("a" + " " * 50 + "[ENT]" + " " * 50 + "b").ids.tolist()
    assert end[2] == 2048 and len(end) == 5
    spaces = " " * 100_000
    for truncation in (Truncation.ERROR, Truncation.END, Truncation.START):
        for text in (f"a [ENT]{spaces}[ENT] b", f"{spaces}[ENT]{spaces}"):
            with pytest.raises(InvalidInput) as caught:
                tokenizer.encode(text, truncation=truncation)
            assert caught.value.reason == "TEXT_TOO_LONG"
    text = "[ENT] a7 " * 20_000
    assert tokenizer.encode(text, truncation=Truncation.END).ids.tolist()[:3] == [2, 2048, end[1]]
    assert tokenizer.encode(text, truncation=Truncation.START).truncated
    rng = random.Random(1)
    whole = load(folder)
    for _ in range(100):
        text = "".join(rng.choices(["[ENT]", " ", "a", "7\n", " " * 10, "  the"], k=800))
        ids = whole.encode(text).ids
        for truncation, kept in ((Truncation.END, ids[:7]), (Truncation.START, ids[-7:])):
            found = tokenizer.encode(text, truncation=truncation).ids
            assert found.tolist() == ([*kept, 1] if truncation is Truncation.END else [2, *kept])
