"""The tokenizer files of google/embeddinggemma-300m, made anew from Gemma's SentencePiece model."""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from gemwire_server.checkpoints.synthetic.tokenizer import convert
from gemwire_server.text.tokenizer import Tokenizer
from support.texts import EDGES, random_texts
from support.tokenizer_folders import added, backend_of, edit, ids_of

PIECES = 262_144
# Of the published tokenizer.json: the one made here is the same, byte for byte.
SHA256 = "6852f8d561078cc0cebe70ca03c5bfdd0d60a45f9d2e0e1e4cc05b68e9ec329e"
IMAGE = "<image_soft_token>"
IMAGES = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": IMAGE}


@pytest.fixture(scope="module")
def published(gemma_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    shutil.copy(gemma_tokenizer, folder / "tokenizer.model")
    raw = json.loads(convert(gemma_tokenizer.read_bytes(), PIECES).to_str())
    raw["added_tokens"].append(added(IMAGE, PIECES, special=True))
    for part in raw["post_processor"]["pair"][3:]:
        next(iter(part.values()))["type_id"] = 1
    # Of two merges of one score the published file has the piece of the lower id first.
    merges = raw["model"]["merges"]
    tabs, word = merges.index(["\t", "\t"]), merges.index(["▁", "t"])
    merges[tabs], merges[word] = merges[word], merges[tabs]
    (folder / "tokenizer.json").write_text(json.dumps(raw, indent=2, ensure_ascii=False), "utf-8")
    entries = {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in raw["added_tokens"]}
    roles = {f"{role}_token": f"<{role}>" for role in ("bos", "eos", "pad", "unk")}
    config: dict[str, Any] = IMAGES | roles
    config |= {
        "add_bos_token": True,
        "add_eos_token": True,
        "added_tokens_decoder": entries,
        "clean_up_tokenization_spaces": False,
        "extra_special_tokens": IMAGES,
        "model_max_length": 2048,
        "padding_side": "right",
        "processor_class": "Gemma3Processor",
        "sp_model_kwargs": None,
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizerFast",
        "use_default_system_prompt": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    (folder / "added_tokens.json").write_text(json.dumps({IMAGE: PIECES}))
    roles_map = IMAGES | {role: added(token) for role, token in roles.items()}
    (folder / "special_tokens_map.json").write_text(json.dumps(roles_map))
    return folder


def load(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder, max_tokens=2048, vocab_size=PIECES)


def test_the_published_files_are_read_by_sentencepiece(
    published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = (published / "tokenizer.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256
    caplog.set_level(logging.INFO)
    tokenizer = load(published)
    assert backend_of(tokenizer) == "SentencePiece"
    assert not caplog.records
    reference = tokenizers.Tokenizer.from_file(str(published / "tokenizer.json"))
    texts = [
        *EDGES,
        *random_texts(200),
        "\t\tif <b>x</b>:\n\n\n",
        "<unused99><unused6241>[multimodal]",
    ]
    assert ids_of(tokenizer, texts) == [reference.encode(text).ids for text in texts]


def test_the_token_of_images_is_read_as_text(published: Path) -> None:
    ids = load(published).encode(IMAGE).ids
    assert len(ids) > 3 and max(ids) < PIECES


@pytest.mark.parametrize("name", ["GemmaTokenizer", "TokenizersBackend"])
def test_as_other_versions_name_the_class(published: Path, tmp_path: Path, name: str) -> None:
    """Newer ones list no added tokens in tokenizer_config.json."""
    folder = Path(shutil.copytree(published, tmp_path / "copy"))
    edit(folder / "tokenizer_config.json", drop=["added_tokens_decoder"], tokenizer_class=name)
    assert backend_of(load(folder)) == "SentencePiece"
