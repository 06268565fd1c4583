"""What the three projections share: two accumulators over one tile of rows.

Each program owns BLOCK_M tokens and two blocks of BLOCK_N weight rows: the halves of a head for rotary
pairs, gate and up for GeGLU, neighbours for a plain product. So every epilogue is elementwise between the
two accumulators, and 128 x (2 x 128) tiles keep the operands' traffic from L2 below its bandwidth.

Batch invariance: an element is the sum over BLOCK_K blocks in order, whatever its row's place in the
batch; there is no split of K, and a tile set may change BLOCK_M and BLOCK_N with the batch's size but not
BLOCK_K.
"""

import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor


@triton.jit
def accumulate_pair(
    x_desc, w_desc, row, first, second,
    K: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """x[row:row + BLOCK_M] times w[first:first + BLOCK_N] and w[second:second + BLOCK_N], transposed."""
    one = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    two = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for k in range(0, K, BLOCK_K):
        x = x_desc.load([row, k])
        # float32 weights are for exactness: not through tf32.
        one = tl.dot(x, w_desc.load([first, k]).T, one, input_precision="ieee")
        two = tl.dot(x, w_desc.load([second, k]).T, two, input_precision="ieee")
    return one, two


def descriptor(matrix: Tensor, rows: int, columns: int) -> TensorDescriptor:
    """For loads and stores of [rows, columns] blocks; what is outside the matrix reads as zero."""
    return TensorDescriptor(matrix, matrix.shape, matrix.stride(), [rows, columns])
