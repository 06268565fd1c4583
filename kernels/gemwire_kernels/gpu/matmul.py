"""What the three projections share.

Each program owns BLOCK_M tokens and two blocks of BLOCK_N weight rows: the halves of a head for rotary
pairs, gate and up for GeGLU, neighbours for a plain product. So every epilogue is elementwise between two
halves, and 128 x (2 x 128) tiles keep the operands' traffic from L2 below its bandwidth.

Where both blocks are one product, the loops over tiles and over K are one (`flatten`): the next tile's
loads are under way during this one's epilogue. With two products there, Triton 3.6 waits for each.

Batch invariance: an element is the sum over BLOCK_K blocks in order, whatever its row's place in the
batch; there is no split of K, and a tile set may change BLOCK_M and BLOCK_N with the batch's size but not
BLOCK_K.
"""

import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor


@triton.jit
def halves(tile, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """The left and the right columns; each element stays in its register."""
    return tl.split(tl.permute(tl.reshape(tile, (ROWS, 2, COLUMNS // 2)), (0, 2, 1)))


def descriptor(matrix: Tensor, *block: int) -> TensorDescriptor:
    """For loads and stores of blocks; what is outside the matrix reads as zero."""
    return TensorDescriptor(matrix, matrix.shape, matrix.stride(), list(block))
