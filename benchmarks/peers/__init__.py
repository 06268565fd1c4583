"""The contenders by name. A contender's library is imported when the contender is made."""

from pathlib import Path

from gemwire_kernels.cpu import best_dtype
from gemwire_server.checkpoints import Checkpoint
from peers.contender import Contender, NotRun

OURS = f"gemwire/{str(best_dtype()).removeprefix('torch.')}"
OURS_INT8 = "gemwire/int8"
REFERENCE = "sentence-transformers/float32"
NAMES = (
    OURS,
    OURS_INT8,
    REFERENCE,
    "sentence-transformers/bfloat16",
    "llama.cpp/bfloat16",
    "llama.cpp/Q8_0",
    "onnxruntime/float32",
    "onnxruntime/int8",
)


def make(name: str, checkpoint: Checkpoint, folder: Path) -> Contender:
    """Loads a contender; `folder` keeps the contender's files. Raises NotRun if it cannot be loaded."""
    try:
        return _make(name, checkpoint, folder)
    except ImportError as error:
        raise NotRun(f"not installed: {error}") from None


def _make(name: str, checkpoint: Checkpoint, folder: Path) -> Contender:
    library, _, kind = name.partition("/")
    match library, kind:
        case "gemwire", _:
            from peers.gemwire import Gemwire

            return Gemwire(checkpoint, "int8" if kind == "int8" else "auto")
        case "sentence-transformers", ("float32" | "bfloat16" as precision):
            from peers.sentence_transformers import SentenceTransformers

            return SentenceTransformers(checkpoint, precision)
        case "llama.cpp", _:
            from peers.llama_cpp import LlamaCpp

            return LlamaCpp(checkpoint, folder, {"bfloat16": "BF16"}.get(kind, kind))
        case "onnxruntime", ("float32" | "int8" as precision):
            from peers.onnx_runtime import OnnxRuntime

            return OnnxRuntime(checkpoint, folder, precision)
    raise ValueError(f"there is no contender {name}")
