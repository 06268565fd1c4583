"""The operations on whole rows: embedding, norms, pooling and the head."""

from functools import partial

import pytest
import torch
from torch import Tensor

from gemwire_kernels import reference
from gemwire_kernels.gpu import GpuOps
from gemwire_kernels.ops import Batch
from support.kernels import exact
from support.kernels.setting import (
    CUDA,
    DEVICE,
    DTYPES,
    assert_no_worse,
    beyond,
    guarded,
    make_ops,
    only_on_cuda,
    placed,
    placed_for_reference,
    runs_kernels,
)

pytestmark = runs_kernels

EPS = exact.EPS
HIDDEN = [48, 96, 256, 768]
VOCABULARY = 50
# Rounding of the residual: fp32, or bfloat16 as a switch of the GPU engine.
RESIDUALS = [torch.float32, torch.bfloat16]


def weights(hidden: int) -> tuple[Tensor, Tensor]:
    """Norm weights of both signs, and one of 60 among them."""
    torch.manual_seed(1)
    one, two = torch.randn(hidden), torch.randn(hidden)
    one[hidden // 2] = 60
    return one, two


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("residual_dtype", RESIDUALS)
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("ids", [[], [0], [VOCABULARY - 1, 0, 7, 7, 7, VOCABULARY - 1, 0, 3, 1]])
def test_embed_norm(
    ids: list[int], hidden: int, residual_dtype: torch.dtype, dtype: torch.dtype
) -> None:
    ops = make_ops(dtype=dtype, residual_dtype=residual_dtype)
    torch.manual_seed(0)
    table, norm = torch.randn(VOCABULARY, hidden).to(dtype), weights(hidden)[0]
    table[7] = 0
    batch = placed(ops, [len(ids)], ids=ids)
    scale = hidden**0.5
    with guarded():
        found = ops.embed_norm(batch, table.to(DEVICE), scale, norm.to(DEVICE), EPS)
    assert [t.dtype for t in found] == [residual_dtype, dtype]
    place = placed_for_reference([len(ids)], ids=ids)
    eager = reference.embed_norm(place, table, scale, norm, EPS)
    expected = table[ids].double() * scale
    if residual_dtype is torch.float32:
        assert_no_worse(found[0][: len(ids)], eager[0], expected)
        assert_no_worse(found[1][: len(ids)], eager[1], exact.norm(expected, norm))
    else:
        assert torch.equal(found[0][: len(ids)].cpu(), eager[0].to(residual_dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize(
    "tokens,kind",
    [
        *((tokens, "normal") for tokens in (0, 1, 3, 4, 5, 8)),
        *((5, kind) for kind in ("outliers", "zero rows", "equal values")),
    ],
)
def test_norm_residual_norm(tokens: int, kind: str, hidden: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    y, residual = torch.randn(tokens, hidden).to(dtype) * 30, torch.randn(tokens, hidden) * 5
    if kind == "outliers":
        y[:, [0, 1, 30, 47]] *= 100
        residual[:, [2, 30, 40, 47]] *= 100
    elif kind == "zero rows":
        y[1:3], residual[2:4] = 0, 0
    elif kind == "equal values":
        y[:], residual[:] = 3, -2
    check_norms(make_ops(dtype=dtype), y, residual)


def check_norms(ops: GpuOps, y: Tensor, residual: Tensor) -> None:
    tokens = len(y)
    post, following = weights(y.shape[1])
    batch = placed(ops, [tokens])
    total = beyond(batch, residual, 7.0)  # and y beyond it is NaN
    with guarded():
        x = ops.norm_residual_norm(
            batch, beyond(batch, y), total, post.to(DEVICE), following.to(DEVICE), EPS
        )
    assert (total[tokens:] == 7).all(), "a row that is none was written"
    theirs = residual.clone()
    eager = reference.norm_residual_norm(
        placed_for_reference([tokens]), y, theirs, post, following, EPS
    )
    expected = residual.double() + exact.norm(y, post)
    assert_no_worse(total[:tokens], theirs, expected)
    assert_no_worse(x[:tokens], eager, exact.norm(expected, following))


@pytest.mark.parametrize("dtype", DTYPES)
def test_residuals_whose_squares_are_infinite(dtype: torch.dtype) -> None:
    """Nothing is asked of them but what eager PyTorch makes of them too."""
    ops = make_ops(dtype=dtype)
    torch.manual_seed(0)
    y = torch.randn(5, 48).to(dtype)
    residual = torch.randn(5, 48)
    residual[1], residual[3, 7] = 3e38, -3e38
    post, following = weights(48)
    batch = placed(ops, [5])
    total = beyond(batch, residual)
    with guarded():
        x = ops.norm_residual_norm(
            batch, beyond(batch, y), total, post.to(DEVICE), following.to(DEVICE), EPS
        )
        pooled = ops.pool(batch, total, following.to(DEVICE), EPS)
    place = placed_for_reference([5])
    theirs = residual.clone()
    eager = reference.norm_residual_norm(place, y, theirs, post, following, EPS)
    close = partial(
        torch.testing.assert_close, rtol=2e-2 if dtype is torch.bfloat16 else 1e-5, atol=1e-4
    )
    close(total[:5].cpu(), theirs)
    close(x[:5].cpu(), eager)
    close(pooled[:1].cpu(), reference.pool(place, theirs, following, EPS))


def run_pool(ops: GpuOps, batch: Batch, residual: Tensor, norm: Tensor, texts: int) -> Tensor:
    with guarded():
        return ops.pool(batch, beyond(batch, residual), norm.to(DEVICE), EPS)[:texts]


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize(
    "lengths", [[], [0], [0, 5, 0], [1], [1] * 9, [4, 0, 5, 21, 6, 15, 16, 17, 0, 0, 43, 1]]
)
def test_pool(lengths: list[int], hidden: int) -> None:
    """Around 5 tokens, a tile of the interpreter, and 4, the rows that are summed at once."""
    ops = make_ops(3, 1)
    torch.manual_seed(0)
    residual, norm = torch.randn(sum(lengths), hidden) * 50 + 20, weights(hidden)[0]
    found = run_pool(ops, placed(ops, lengths), residual, norm, len(lengths))
    eager = reference.pool(placed_for_reference(lengths), residual, norm, EPS)
    assert_no_worse(found, eager, exact.pool(residual, norm, lengths))
    assert not found[[length == 0 for length in lengths]].any()


@pytest.mark.parametrize("lengths", [[1] * 3000, [2048] * 8, [1, 2048, 1, 1023, 257]])
def test_pool_of_full_batches(lengths: list[int]) -> None:
    if not CUDA:  # the same lists of tiles, of fewer tokens
        lengths = [1] * 300 if len(lengths) > 100 else [-(-length // 8) for length in lengths]
    ops = make_ops(3, 1)
    torch.manual_seed(0)
    residual, norm = torch.randn(sum(lengths), 48), weights(48)[0]
    found = run_pool(ops, placed(ops, lengths), residual, norm, len(lengths))
    eager = reference.pool(placed_for_reference(lengths), residual, norm, EPS)
    assert_no_worse(found, eager, exact.pool(residual, norm, lengths))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_pooled_text_has_the_same_bits_wherever_it_is(dtype: torch.dtype) -> None:
    ops = make_ops(3, 1, dtype=dtype)
    torch.manual_seed(0)
    text, other, norm = torch.randn(23, 96), torch.randn(40, 96), weights(96)[0]
    alone = run_pool(ops, placed(ops, [23]), text, norm, 1)
    for n in (1, 2, 4, 5, 17, 40):
        batch = placed(ops, [n, 23, 0, n], capacity=1024)
        packed = torch.cat((other[:n], text, other[:n]))
        assert torch.equal(run_pool(ops, batch, packed, norm, 4)[1:2], alone)


def test_not_a_number_stays_in_its_text() -> None:
    ops = make_ops(3, 1)
    torch.manual_seed(0)
    residual, norm, dense = torch.randn(30, 48), weights(48)[0], torch.randn(32, 48)
    batch = placed(ops, [9, 12, 9])
    before = run_pool(ops, batch, residual, norm, 3)
    residual[15, 3] = torch.nan
    after = run_pool(ops, batch, residual, norm, 3)
    assert torch.equal(before[[0, 2]], after[[0, 2]]) and after[1].isnan().any()
    vectors = ops.head(batch, beyond(batch, after.cpu()), dense.to(DEVICE))[:3]
    assert vectors[1].isnan().all() and vectors[[0, 2]].isfinite().all()


@pytest.mark.parametrize("texts", [0, 1, 15, 16, 17])
@pytest.mark.parametrize("dimensions,hidden", [(48, 48), (96, 48), (128, 96), (20, 256)])
def test_head(texts: int, dimensions: int, hidden: int) -> None:
    check_head(texts, dimensions, hidden)


@pytest.mark.parametrize("dimensions", [128, 256, 512, 768])
def test_head_of_each_matryoshka_size(dimensions: int) -> None:
    check_head(4096 if CUDA else 2, dimensions, 768)


@only_on_cuda
def test_head_of_thousands() -> None:
    check_head(16896, 768, 768)


def check_head(texts: int, dimensions: int, hidden: int) -> None:
    """A cut matrix: the first rows of a larger one. One pooled vector is zero."""
    ops = make_ops()
    torch.manual_seed(0)
    pooled, dense = torch.randn(texts, hidden), torch.randn(dimensions + 8, hidden)[:dimensions]
    pooled[1:2] = 0
    batch = placed(ops, [0] * texts)  # their number counts, not their tokens'
    with guarded():
        found = ops.head(batch, beyond(batch, pooled), dense.to(DEVICE))[:texts]
        raw = ops.head(batch, beyond(batch, pooled), dense.to(DEVICE), normalize=False)[:texts]
    eager_raw = reference.head(placed_for_reference([1] * texts), pooled, dense, normalize=False)
    assert_no_worse(raw, eager_raw, pooled.double() @ dense.double().T)
    eager = reference.head(placed_for_reference([1] * texts), pooled, dense)
    assert_no_worse(found, eager, exact.head(pooled, dense))
    assert not found[1:2].any()
    torch.testing.assert_close(
        found.norm(dim=1), pooled.any(dim=1).float().to(DEVICE), atol=1e-6, rtol=0
    )
