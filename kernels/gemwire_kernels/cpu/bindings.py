"""Binds the native library by ctypes, which needs no Python headers and frees the GIL in calls."""

import ctypes
from ctypes import POINTER, Structure, c_float, c_int, c_void_p
from enum import IntEnum
from functools import lru_cache

from gemwire_kernels.cpu import build


class Kind(IntEnum):
    """How a weight is packed. The numbers are those of weights.h."""

    FLOAT32 = 0
    BFLOAT16 = 1
    INT8 = 2


class CWeight(Structure):
    """weights.h's Weight."""

    _fields_ = (
        ("kind", c_int),
        ("columns", c_int),
        ("depth", c_int),
        ("blocks", c_void_p),
        ("scales", c_void_p),
        ("sums", c_void_p),
    )


# i: int, f: float, p: address of memory, w: a Weight or nothing; in the order of api.cpp.
SIGNATURES = {
    "gemwire_lanes": "",
    "gemwire_multiplies": "i",
    "gemwire_pack": "iipiippp",
    "gemwire_quantize": "ipiipp",
    "gemwire_embed_norm": "iipippfpifppi",
    "gemwire_linear": "wipipi",
    "gemwire_gate_up_geglu": "wipipi",
    "gemwire_geglu": "ipiipi",
    "gemwire_qkv_norm_rope": "wippiiiippppfpppi",
    "gemwire_attention": "ippppiiiifipi",
    "gemwire_norm_residual_norm": "ippppiifpi",
    "gemwire_pool": "ppipifpi",
    "gemwire_head": "pipiiipi",
}
TYPES = {"i": c_int, "f": c_float, "p": c_void_p, "w": POINTER(CWeight)}


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """Returns the library, which is built and loaded once. Raises build.BuildError."""
    path = build.library()
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        path.unlink(missing_ok=True)  # damaged: the next start builds it again
        raise build.BuildError(f"{path} does not load: {error}") from None
    for name, letters in SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes = [TYPES[letter] for letter in letters]
        function.restype = c_int if name in ("gemwire_lanes", "gemwire_multiplies") else None
    return loaded
