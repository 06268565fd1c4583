"""How texts are read: the window and small letters, wherever a version keeps them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gemwire_mini import CHECKPOINT as MINI
from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.engine.packing import pack
from gemwire_server.runners.cpu import CpuRunner
from gemwire_server.verify import reference_vectors
from support.edited import edit

TEXT = "Which PLANET is known as the Red Planet? <bos> ÀÉ İ"
FP32_TOLERANCE = 5e-6  # of a unit vector's entries; sums are taken in another order


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    """gemwire-mini as sentence-transformers 5.4 and newer keep its small letters."""
    folder = Path(shutil.copytree(MINI, tmp_path / "mini"))
    (folder / "sentence_bert_config.json").write_text("{}")

    def lowercase(raw: dict[str, Any]) -> None:
        raw["normalizer"] = {
            "type": "Sequence",
            "normalizers": [{"type": "Lowercase"}, raw["normalizer"]],
        }

    edit(folder / "tokenizer.json", lowercase)
    return folder


@pytest.mark.parametrize("alone", [False, True])
def test_small_letters_of_tokenizer_json(mini: Path, alone: bool) -> None:
    """Beside a tokenizer.model, which does not know of them, and alone."""
    if alone:
        (mini / "tokenizer.model").unlink()
    before, after = (open_checkpoint(str(folder)) for folder in (MINI, mini))
    assert after.max_tokens == before.max_tokens
    expected = before.load_tokenizer().encode(TEXT).ids
    np.testing.assert_array_equal(after.load_tokenizer().encode(TEXT).ids, expected)
    reference = reference_vectors(after, [TEXT], torch.float32)
    vectors = CpuRunner.load(after, dtype="float32", threads=0).run(pack([expected]))
    np.testing.assert_allclose(vectors, reference, atol=FP32_TOLERANCE)


WINDOWS: list[tuple[dict[str, Any], dict[str, Any], int]] = [
    ({}, {"model_max_length": 300}, 300),
    ({"max_seq_length": None}, {"model_max_length": 300}, 300),
    ({"max_seq_length": 200}, {"model_max_length": 300}, 200),
    ({"max_seq_length": 300}, {"model_max_length": 200}, 300),
    ({}, {"model_max_length": 1e30}, 2048),
    ({}, {"model_max_length": None}, 2048),
    ({}, {}, 2048),
    ({"max_seq_length": 100_000}, {}, 2048),
]


@pytest.mark.parametrize("bert,tokenizer,expected", WINDOWS)
def test_the_window(
    bert: dict[str, Any],
    tokenizer: dict[str, Any],
    expected: int,
    tiny_checkpoint: Path,
    tmp_path: Path,
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))
    (folder / "sentence_bert_config.json").write_text(json.dumps(bert))

    def change(raw: dict[str, Any]) -> None:
        raw.pop("model_max_length")
        raw.update(tokenizer)

    edit(folder / "tokenizer_config.json", change)
    assert open_checkpoint(str(folder)).max_tokens == expected
    if not isinstance(bert.get("max_seq_length"), int) or bert["max_seq_length"] < 2048:
        from sentence_transformers import SentenceTransformer

        assert SentenceTransformer(str(folder), device="cpu").max_seq_length == expected


ACCEPTED: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("sentence_bert_config.json", lambda c: c.update(unpad_inputs=True, query_length=None)),
    (
        "sentence_bert_config.json",
        lambda c: c.update(
            processing_kwargs={
                "text": {"padding": "max_length"},
                "common": {"return_tensors": "pt"},
                "chat_template": {"add_generation_prompt": True},
            }
        ),
    ),
    (
        "sentence_bert_config.json",
        lambda c: c.update(
            model_args={"attn_implementation": "sdpa", "torch_dtype": "bfloat16"},
            tokenizer_args={},
            config_args=None,
        ),
    ),
    ("config_sentence_transformers.json", lambda c: c.update(requirements=["transformers>=5"])),
    ("config_sentence_transformers.json", lambda c: c.update(similarity_fn_name="dot")),
    ("1_Pooling/config.json", lambda c: c.pop("pooling_mode_mean_tokens")),
    ("2_Dense/config.json", lambda c: c.update(module_output_name=None, use_residual=False)),
]


@pytest.mark.parametrize("file,change", ACCEPTED, ids=range(len(ACCEPTED)))
def test_what_changes_no_vector_is_accepted(
    file: str, change: Callable[[dict[str, Any]], None], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))
    edit(folder / file, change)
    open_checkpoint(str(folder))


def test_prompts_that_a_task_takes_from_the_model_card_are_told(
    tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As sentence-transformers saves `model.prompts = {"query": ..., "passage": ...}`."""
    open_checkpoint(str(tiny_checkpoint))
    assert not caplog.text
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))
    settings = folder / "config_sentence_transformers.json"
    edit(settings, lambda c: c.update(prompts={"query": "Q: ", "passage": "P: "}))
    assert open_checkpoint(str(folder)).prompts.for_task("retrieval_document").startswith("title: ")
    assert "prompts has no document: sentence-transformers puts nothing" in caplog.text


def test_another_similarity_is_told(
    tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))
    settings = folder / "config_sentence_transformers.json"
    edit(settings, lambda c: c.update(similarity_fn_name="euclidean", prompts={"query": None}))
    assert open_checkpoint(str(folder)).prompts.by_name("query") == ""
    assert "similarity_fn_name is euclidean" in caplog.text
