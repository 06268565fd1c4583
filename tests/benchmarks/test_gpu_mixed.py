"""The contest of mixed lengths: the contenders that may take part, and the count."""

import time
from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("triton")

from gpu_load import Embed, Vectors
from gpu_mixed import OURS, ROUNDS, Rival, compete, prepare
from gpu_mixed import rivals as all_rivals

FOREVER = time.monotonic() + 1e6


def embed(texts: Sequence[np.ndarray]) -> Vectors:
    """A unit vector of each text's own."""
    vectors = np.stack([np.random.default_rng(len(ids)).normal(size=8) for ids in texts])
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def turned(texts: Sequence[np.ndarray]) -> Vectors:
    return embed(texts)[:, ::-1]


def slow(texts: Sequence[np.ndarray]) -> Vectors:
    time.sleep(0.02)
    return embed(texts)


def ids(*lengths: int) -> list[np.ndarray]:
    return [np.ones(n, np.int32) for n in lengths]


MIXES = {"short": ids(3, 5), "long": ids(40, 7, 9)}


def test_a_rival_that_fails_or_is_wrong_or_late_takes_no_part() -> None:
    def broken() -> dict[str, Embed]:
        raise RuntimeError("no such operation\nand more")

    rivals = [
        Rival("broken", 1, broken),
        Rival("same", 1, lambda: {"same 1": slow, "same 2": embed}),
        Rival("other", 1, lambda: {"other": turned}),
        Rival("late", 1e9, lambda: {"late": embed}),
    ]
    contenders = prepare(embed, rivals, MIXES, FOREVER)
    assert list(contenders.running) == [OURS, "same 1", "same 2"]
    assert contenders.not_run["broken"] == "RuntimeError: no such operation"
    assert contenders.not_run["late"] == "no time was left"
    assert "other vectors" in contenders.not_run["other"] and contenders.wrong == ["other"]


def test_the_ratio_is_to_the_best_of_the_others() -> None:
    found = compete({OURS: embed, "slow": slow, "same": embed}, MIXES["long"], FOREVER)
    assert (found["texts"], found["tokens"], found["best_rival"]) == (3, 56, "same")
    assert {len(rates) for rates in found["tokens_per_second"].values()} == {ROUNDS}
    assert found["ratio"] == pytest.approx(
        np.median(
            [
                a / b
                for a, b in zip(
                    *(found["tokens_per_second"][n] for n in (OURS, "same")), strict=True
                )
            ]
        )
    )
    alone = compete({OURS: embed}, MIXES["long"], FOREVER)
    assert (alone["best_rival"], alone["ratio"]) == (None, None)


def test_when_time_is_over_each_still_has_one_round() -> None:
    found = compete({OURS: embed, "slow": slow}, MIXES["long"], time.monotonic() - 1)
    assert {len(rates) for rates in found["tokens_per_second"].values()} == {1}


def test_what_pytorch_offers_takes_part() -> None:
    names = [rival.name for rival in all_rivals(None, 128)]  # type: ignore[arg-type]
    assert names == ["sentence-transformers", "varlen_attn", "FlexAttention", "torch.compile"]
