"""Packing against the obvious."""

import numpy as np

from gemwire_server.engine.packing import pack


def test_packs_end_to_end() -> None:
    batch = pack([np.array(ids, np.int32) for ids in ([5, 6, 7], [8], [9, 10])])
    assert batch.input_ids.tolist() == [5, 6, 7, 8, 9, 10]
    assert batch.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert batch.cu_seqlens.tolist() == [0, 3, 4, 6]
    assert (batch.num_tokens, batch.num_texts) == (6, 3)
    assert {a.dtype for a in (batch.input_ids, batch.positions, batch.cu_seqlens)} == {
        np.dtype(np.int32)
    }


def test_random_lengths_come_back() -> None:
    random = np.random.default_rng(0)
    texts = [random.integers(0, 9, n, dtype=np.int32) for n in random.integers(1, 50, 100)]
    batch = pack(texts)
    for i, text in enumerate(texts):
        rows = slice(batch.cu_seqlens[i], batch.cu_seqlens[i + 1])
        assert batch.input_ids[rows].tolist() == text.tolist()
        assert batch.positions[rows].tolist() == list(range(len(text)))
