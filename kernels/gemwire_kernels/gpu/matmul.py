"""What the three projections share.

Each program owns BLOCK_M tokens and two blocks of BLOCK_N weight rows: the halves of a head for rotary
pairs, gate and up for GeGLU, neighbours for a plain product. So every epilogue is elementwise between two
halves, and 128 x (2 x 128) tiles keep the operands' traffic from L2 below its bandwidth.

Where both blocks are one product and a program has several tiles, the loops over tiles and over K are one
(`FLATTEN`): the next tile's loads are under way during this one's epilogue. With two products there, Triton
3.6 waits for each.

In the smallest batches a program has all of K at once (`at_once` in a tile): its weights are in registers
before the kernel before has ended.

Batch invariance: an element's sum goes through K in order, 16 at a time, whatever its row's place in the
batch and whatever the tile; there is no split of K. So a tile set may change every size of a tile with the
batch's.
"""

import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from gemwire_kernels.gpu.batch import Plan

# The longest K that a program takes at once. Beyond it registers spill (compiled for sm_90a).
MOST_AT_ONCE = 1152


@triton.jit
def halves(tile, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Splits the left from the right columns; each element stays in its register."""
    return tl.split(tl.permute(tl.reshape(tile, (ROWS, 2, COLUMNS // 2)), (0, 2, 1)))


@triton.jit
def opened(matrix, shape, strides, block, COPY_ENGINE: tl.constexpr):
    """What `operand` gave as something to load blocks from and store them to. What is outside of the
    shape reads as zero and is not written."""
    if COPY_ENGINE:
        return matrix
    else:
        return tl.make_tensor_descriptor(matrix, shape, strides, block)


@triton.jit
def load_rows(pointer, row, real, K: tl.constexpr, BLOCK_K: tl.constexpr):
    """Loads whole rows of a matrix [.., K] as a tuple of blocks [len(row), BLOCK_K]. What is not real, or
    beyond K, is zero."""
    blocks: tl.tuple = ()
    for at in tl.static_range(0, K, BLOCK_K):
        k = at + tl.arange(0, BLOCK_K)
        mask = real[:, None] & (k < K)[None, :]
        at_block = row.to(tl.int64)[:, None] * K + k[None, :]
        block = tl.load(pointer + at_block, mask=mask, other=0.0)
        blocks = blocks + (block,)  # noqa: RUF005 (Triton has no other way)
    return blocks


@triton.jit
def times_rows(
    x_ptr, row, real, w, K: tl.constexpr,
    BLOCK_M: tl.constexpr, COLUMNS: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Multiplies BLOCK_M rows of x by the COLUMNS rows of w, transposed, which `load_rows` has loaded: fp32
    [BLOCK_M, COLUMNS]."""
    x = load_rows(x_ptr, row, real, K, BLOCK_K)
    total = tl.zeros((BLOCK_M, COLUMNS), tl.float32)
    for i in tl.static_range(len(w)):
        total = tl.dot(x[i], w[i].T, total, input_precision="ieee")
    return total


@triton.jit
def store_inside(pointer, values, row, num_rows, column, N: tl.constexpr):
    """Stores a block of a matrix [num_rows, N], without what is beyond it, in the matrix's dtype."""
    mask = (row < num_rows)[:, None] & (column < N)[None, :]
    at = row.to(tl.int64)[:, None] * N + column[None, :]
    tl.store(pointer + at, values.to(pointer.dtype.element_ty), mask=mask)


def has_copy_engine(major: int) -> bool:
    """Whether cards of this major compute capability have a copy engine: Hopper and newer."""
    return major >= 9


def operand(plan: Plan, matrix: Tensor, *block: int) -> TensorDescriptor | Tensor:
    """A matrix that a kernel takes block by block: for cards with a copy engine (Hopper and newer) its
    descriptor; for others itself, as `opened` then knows that rows are contiguous, and loads are wide."""
    if not plan.copy_engine:
        return matrix
    return TensorDescriptor(matrix, matrix.shape, matrix.stride(), list(block))
