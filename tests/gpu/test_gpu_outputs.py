"""The outputs that have no graph, on a card: beside steps that replay one, in every kind of bucket."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gemwire_server.engine.interface import Output
from gemwire_server.engine.packing import pack
from gpu.runners import assert_same_bits, random_ids

if TYPE_CHECKING:
    from gemwire_server.runners.cuda import CudaRunner

OTHERS = [Output.RAW, Output.TOKENS]


@pytest.mark.parametrize("output", OTHERS)
@pytest.mark.parametrize("lengths", [(1,), (7, 2), (300, 43), (2048, 780, 2)], ids=str)
def test_a_text_has_the_same_bits_in_every_step(
    lengths: tuple[int, ...], output: Output, full: "CudaRunner"
) -> None:
    ids = random_ids(lengths, full, seed=1)
    alone = np.concatenate([full.run(pack([text]), output) for text in ids])
    units = full.run(pack(ids))
    assert_same_bits(full.run(pack(ids), output), alone)
    assert_same_bits(full.run(pack(ids)), units)


def test_steps_of_all_outputs_under_way_at_once(full: "CudaRunner") -> None:
    """Results stay what they are while later steps run in the same bucket."""
    batch = pack(random_ids((30, 12), full, seed=2))
    expected = {output: full.run(batch, output) for output in Output}
    under_way = []
    for output in [*Output, *reversed(Output), *Output]:
        under_way.append((output, full.start(batch, output)))
        if len(under_way) == full.depth:
            done, wait = under_way.pop(0)
            assert_same_bits(wait(), expected[done])
    for done, wait in under_way:
        assert_same_bits(wait(), expected[done])


def test_they_belong_together(full: "CudaRunner") -> None:
    ids = random_ids((5, 64, 700), full, seed=3)
    units, raw = full.run(pack(ids)), full.run(pack(ids), Output.RAW)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(raw / lengths, units, atol=1e-6)
    states = np.split(full.run(pack(ids), Output.TOKENS), np.cumsum([5, 64]))
    means = np.stack([rows.mean(axis=0) for rows in states])
    dense = full.encoder.weights.dense.cpu().numpy()  # type: ignore[attr-defined]
    np.testing.assert_allclose(means @ dense.T, raw, atol=1e-4 * np.abs(raw).max())
