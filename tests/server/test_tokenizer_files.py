"""What a checkpoint's tokenizer files say, and files that are missing or wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gemwire_server.errors import CheckpointError
from gemwire_server.tokenizer import Tokenizer
from gemwire_server.tokenizer_backends import load_backend

SAMPLE = "Jupiter\n\n  <bos>ß🚀\t\0 <pad>▁▁ 12"


def load(directory: Path) -> Tokenizer:
    return Tokenizer.load(directory, max_tokens=2048, vocab_size=2048)


def copy(source: Path, target: Path, *names: str) -> Path:
    for name in names:
        shutil.copy(source / name, target / name)
    return target


def edit(path: Path, **changes: object) -> None:
    """Sets keys of a JSON file; None takes one out."""
    raw = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in raw.items() if value is not None}))


def test_a_saved_truncation_is_not_followed(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy(tiny_checkpoint, tmp_path, "tokenizer.json", "tokenizer_config.json")
    cut = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    edit(tmp_path / "tokenizer.json", truncation=cut)
    expected = load(tiny_checkpoint).encode(SAMPLE).ids
    assert len(expected) > 3 and np.array_equal(load(tmp_path).encode(SAMPLE).ids, expected)


def test_a_token_without_a_row_stays_text(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy(tiny_checkpoint, tmp_path, "tokenizer.json", "tokenizer_config.json")
    added = json.loads((tmp_path / "tokenizer.json").read_text())["added_tokens"]
    added.append(added[0] | {"id": 2048, "content": "<image_soft_token>"})
    edit(tmp_path / "tokenizer.json", added_tokens=added)
    assert load(tmp_path).encode("<image_soft_token>").ids.max() < 2048


@pytest.mark.parametrize("backend", ["tokenizer.model", "tokenizer.json"])
@pytest.mark.parametrize(("bos", "eos"), [(True, False), (False, True), (True, True), (None, True)])
def test_special_tokens_are_those_the_checkpoint_adds(
    tiny_checkpoint: Path, tmp_path: Path, backend: str, bos: bool | None, eos: bool
) -> None:
    copy(tiny_checkpoint, tmp_path, backend, "tokenizer_config.json")
    token = {"content": "<bos>", "lstrip": False}
    edit(tmp_path / "tokenizer_config.json", add_bos_token=bos, add_eos_token=eos, bos_token=token)
    digit = load(tiny_checkpoint).encode("7").ids[1]
    assert load(tmp_path).encode("7").ids.tolist() == [2] * bool(bos) + [digit] + [1] * eos


def test_without_a_word_on_it_the_post_processor_tells(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    copy(tiny_checkpoint, tmp_path, "tokenizer.model", "tokenizer.json", "tokenizer_config.json")
    edit(tmp_path / "tokenizer_config.json", add_bos_token=None, add_eos_token=None)
    assert load(tmp_path).encode("7").ids.tolist()[::2] == [2, 1]
    edit(tmp_path / "tokenizer.json", post_processor=None)
    assert len(load(tmp_path).encode("7").ids) == 1
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="which special tokens"):
        load(tmp_path)


def test_files_that_are_missing_or_contradict_each_other(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="neither tokenizer"):
        load(tmp_path)
    for name in ("tokenizer.model", "tokenizer.json"):
        alone = tmp_path / name.replace(".", "_")
        alone.mkdir()
        copy(tiny_checkpoint, alone, name, "tokenizer_config.json")
        with pytest.raises(CheckpointError, match="2048 pieces; the model has 2000 tokens"):
            load_backend(alone, 2000)
        edit(alone / "tokenizer_config.json", bos_token="<s>")
        with pytest.raises(CheckpointError, match="bos_token '<s>' is not in the vocabulary"):
            load(alone)
        edit(alone / "tokenizer_config.json", bos_token=None)
        with pytest.raises(CheckpointError, match="there is no bos_token"):
            load(alone)
        (alone / name).write_text("{}")
        with pytest.raises(CheckpointError, match=f"not a (SentencePiece model|{name})"):
            load(alone)


@pytest.mark.parametrize(
    ("key", "value"),
    [("normalizer", {"type": "NFC"}), ("model", {"type": "WordPiece", "byte_fallback": False})],
)
def test_what_is_not_implemented_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, key: str, value: object
) -> None:
    copy(tiny_checkpoint, tmp_path, "tokenizer.json", "tokenizer_config.json")
    edit(tmp_path / "tokenizer.json", **{key: value})
    with pytest.raises(CheckpointError, match="is implemented"):
        load(tmp_path)
