"""llama.cpp through llama-cpp-python, on a GGUF file written from the same checkpoint."""

import ctypes
from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np
import torch

from gemwire_server.checkpoints import Checkpoint
from gemwire_server.engine.packing import TokenIds
from peers.contender import Counts, Precision, Vectors, filled
from peers.gguf_file import write_gguf
from peers.kept import kept

MAX_TEXTS = 256  # of one step: LLAMA_MAX_SEQ
# Kept alive: the library calls this function as long as it runs.
_quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)


class LlamaCpp:
    """Embeds by the low-level calls: llama_cpp.Llama.embed makes a list of Python floats of each vector."""

    counts: Counts = "tokens"
    # In one step every token is scored against every other, of whatever text: large steps are slow.
    sizes: tuple[int, ...] = (1, 128, 256, 512)

    def __init__(self, checkpoint: Checkpoint, folder: Path, kind: str) -> None:
        """Loads a GGUF file of `kind` BF16 or Q8_0, which is kept in the folder."""
        self.name = f"llama.cpp/{'bfloat16' if kind == 'BF16' else kind}"
        self.precision: Precision = "bfloat16" if kind == "BF16" else "int8"
        self._tokenizer = checkpoint.load_tokenizer()
        self._dimensions = checkpoint.dimensions[0]
        files = kept(
            folder / f"gguf-{kind}", lambda into: write_gguf(checkpoint, into / "model.gguf", kind)
        )
        llama_cpp.llama_log_set(_quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(
            str(files / "model.gguf").encode(), llama_cpp.llama_model_default_params()
        )
        if not self._model:
            raise RuntimeError("llama.cpp does not load the GGUF file")
        tokens = checkpoint.max_tokens
        params = llama_cpp.llama_context_default_params()
        # A text is computed in one micro-batch, so that is as long as the window.
        params.n_ctx = params.n_batch = params.n_ubatch = tokens
        params.n_seq_max = MAX_TEXTS
        params.kv_unified = True
        params.embeddings = True
        params.n_threads = params.n_threads_batch = torch.get_num_threads()
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError("llama.cpp makes no context of the model")
        self._batch = llama_cpp.llama_batch_init(tokens, 0, 1)
        self.build = llama_cpp.llama_print_system_info().decode()

    def embed(self, texts: Sequence[str], size: int) -> Vectors:
        sequences = [self._tokenizer.encode(text).ids for text in texts]
        vectors = np.empty((len(texts), self._dimensions), np.float32)
        for step in filled(sequences, size):
            for first in range(0, len(step), MAX_TEXTS):
                part = step[first : first + MAX_TEXTS]
                vectors[part] = self._run([sequences[i] for i in part])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _run(self, sequences: list[TokenIds]) -> Vectors:
        batch, i = self._batch, 0
        for number, ids in enumerate(sequences):
            for position, token in enumerate(ids.tolist()):
                batch.token[i] = token
                batch.pos[i] = position
                batch.n_seq_id[i] = 1
                batch.seq_id[i][0] = number
                batch.logits[i] = 1
                i += 1
        batch.n_tokens = i
        if code := llama_cpp.llama_encode(self._context, batch):
            raise RuntimeError(f"llama_encode returned {code}")
        rows = [
            np.ctypeslib.as_array(
                llama_cpp.llama_get_embeddings_seq(self._context, number), (self._dimensions,)
            ).copy()
            for number in range(len(sequences))
        ]
        return np.stack(rows)
