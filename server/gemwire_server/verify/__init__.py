"""Compares the engine's vectors with sentence-transformers' on the same checkpoint and device.

The gate: against the fp32 reference, the engine's error 1 - cos is no larger than that of the reference
in bfloat16 (mean and p99), its mean is at most 2e-4 and its maximum at most 1e-3. With int8 weights the
mean is at most 2e-3 and the maximum 1e-2.
"""

import gc
import itertools
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from gemwire_server.checkpoints import Checkpoint, open_configured
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.packing import PackedBatch, TokenIds, pack
from gemwire_server.errors import CheckpointError, InvalidInput
from gemwire_server.runners.choose import Runner, batch_tokens, load_runner
from gemwire_server.text.backends import lowered
from gemwire_server.text.prompts import TASKS
from gemwire_server.text.tokenizer import Tokenizer, Truncation

Vectors = NDArray[np.float32]
CPU = torch.device("cpu")

LENGTHS = (
    3,
    4,
    8,
    16,
    31,
    63,
    64,
    65,
    128,
    255,
    256,
    257,
    258,
    259,
    400,
    511,
    512,
    513,
    1024,
    2048,
)
RANGES = ((1, 16), (17, 64), (65, 256), (257, 512), (513, 1 << 30), (1, 1 << 30))
MEAN_LIMIT, MAX_LIMIT = 2e-4, 1e-3
BATCH_TOKENS = 4096  # of a step, where the engine's are not smaller
INT8_MEAN_LIMIT, INT8_MAX_LIMIT = 2e-3, 1e-2
NEIGHBOURS = 10
BF16_MEAN_LIMIT = 5e-4  # of the engine against the bf16 reference: both err

# The model card's example and the row it prints for the published weights.
CARD_MODEL = "google/embeddinggemma-300m"
CARD_QUERY = "Which planet is known as the Red Planet?"
CARD_DOCUMENTS = (
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
)
CARD_ROW = (0.3011, 0.6359, 0.4930, 0.4889)
CARD_TOLERANCE = 0.01


class Runs(Protocol):
    """What embeds packed batches."""

    def run(self, batch: PackedBatch) -> Vectors:
        """fp32 [n, dimensions]."""
        ...


@dataclass(frozen=True, slots=True)
class Errors:
    """How far vectors are from a reference, over some texts."""

    mean: float
    p99: float
    maximum: float
    max_abs: float

    @classmethod
    def of(cls, vectors: Vectors, reference: Vectors) -> "Errors":
        a, b = vectors.astype(np.float64), reference.astype(np.float64)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        distance = np.maximum(0, 1 - (a * b).sum(axis=1) / lengths)
        return cls(
            mean=float(distance.mean()),
            p99=float(np.percentile(distance, 99)),
            maximum=float(distance.max()),
            max_abs=float(np.abs(a - b).max()),
        )


def run(
    config: ServerConfig,
    texts: Path | None,
    against: str,
    load: Callable[[Checkpoint, ServerConfig], Runner] = load_runner,
) -> int:
    """Prints the table; 0 inside the gate, 1 outside. `against` is "fp32" or "bf16"."""
    given = read_texts(texts) if texts else None
    checkpoint = open_configured(config)
    tokenizer = checkpoint.load_tokenizer()
    corpus = given or sample_texts(tokenizer)
    ids = [tokenizer.encode(text, truncation=Truncation.END).ids for text in corpus]
    _say(f"{len(corpus)} texts, {sum(map(len, ids))} tokens: this engine")
    int8 = config.weights == "int8"
    runner = load(checkpoint, config)
    ours = embed(runner, ids, min(BATCH_TOKENS, batch_tokens(runner, config)))
    card = card_row(runner, checkpoint, tokenizer)
    name = "gemwire int8" if int8 else f"gemwire {runner.dtype_name}"
    description, device = runner.description, runner.device
    del runner
    gc.collect()
    lengths = np.array([len(sequence) for sequence in ids])
    if against == "bf16":
        _say("reference in bfloat16")
        rows = {name: (ours, reference_vectors(checkpoint, corpus, torch.bfloat16, device=device))}
        failures = _failures_bf16(Errors.of(*rows[name]), int8)
    else:
        _say("reference in float32")
        truth = reference_vectors(checkpoint, corpus, torch.float32, device=device)
        _say("reference in bfloat16")
        bf16 = reference_vectors(checkpoint, corpus, torch.bfloat16, device=device)
        rows = {name: (ours, truth), "reference bfloat16": (bf16, truth)}
        errors = Errors.of(ours, truth)
        failures = gate_int8(errors) if int8 else gate(errors, Errors.of(bf16, truth))
    print(f"{description}; {len(corpus)} texts")
    if checkpoint.rereads_window:
        print(
            f"sliding_window {checkpoint.written_sliding_window} of config.json is read as "
            f"{checkpoint.config.window} tokens to each side, here and in the reference "
            "(--sliding-window)"
        )
    print_table(rows, lengths, against)
    for name, (vectors, reference) in rows.items():
        print(f"top-{NEIGHBOURS} overlap, {name}: {overlap(vectors, reference):.4f}")
    print(f"\nmodel card's example: {' '.join(f'{score:.4f}' for score in card)}")
    if config.model == CARD_MODEL and np.abs(np.array(CARD_ROW) - card).max() > CARD_TOLERANCE:
        failures.append(f"the model card prints {' '.join(map(str, CARD_ROW))}")
    for failure in failures:
        print(f"FAILED: {failure}")
    print("FAILED" if failures else "PASSED: inside the gate")
    return 1 if failures else 0


def gate(engine: Errors, bf16: Errors) -> list[str]:
    """What is outside the gate, in words."""
    return _over(
        [
            ("mean", engine.mean, bf16.mean, "the bf16 reference's"),
            ("p99", engine.p99, bf16.p99, "the bf16 reference's"),
            ("mean", engine.mean, MEAN_LIMIT, "the limit"),
            ("maximum", engine.maximum, MAX_LIMIT, "the limit"),
        ]
    )


def gate_int8(engine: Errors) -> list[str]:
    """The same for int8 weights, which bf16 is no measure of."""
    return _over(
        [
            ("mean", engine.mean, INT8_MEAN_LIMIT, "the limit"),
            ("maximum", engine.maximum, INT8_MAX_LIMIT, "the limit"),
        ]
    )


def _over(limits: list[tuple[str, float, float, str]]) -> list[str]:
    return [
        f"{what} 1-cos {value:.2e} is over {whose} {limit:.2e}"
        for what, value, limit, whose in limits
        if not value <= limit  # not >: a NaN fails
    ]


def _failures_bf16(errors: Errors, int8: bool) -> list[str]:
    limit = BF16_MEAN_LIMIT + (INT8_MEAN_LIMIT if int8 else 0)
    return _over([("mean", errors.mean, limit, "the limit")])


def overlap(vectors: Vectors, reference: Vectors) -> float:
    """Of each text's nearest other texts, the share that the reference finds too; the mean."""
    found, expected = _nearest(vectors), _nearest(reference)
    shares = [len(set(a) & set(b)) / len(b) for a, b in zip(found, expected, strict=True) if b]
    return float(np.mean(shares)) if shares else 1.0


def _nearest(vectors: Vectors) -> list[list[int]]:
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    nearest: list[list[int]] = np.argsort(-cosines, axis=1, kind="stable").tolist()
    return [row[: min(NEIGHBOURS, len(row) - 1)] for row in nearest]


def embed(runner: Runs, ids: Sequence[TokenIds], budget: int = BATCH_TOKENS) -> Vectors:
    """fp32 [n, dimensions], in packed batches of about `budget` tokens."""
    parts, batch, tokens = [], list[TokenIds](), 0
    for sequence in ids:
        if batch and tokens + len(sequence) > budget:
            parts.append(runner.run(pack(batch)))
            batch, tokens = [], 0
        batch.append(sequence)
        tokens += len(sequence)
    parts.append(runner.run(pack(batch)))
    return np.concatenate(parts)


def reference_vectors(
    checkpoint: Checkpoint,
    texts: Sequence[str],
    dtype: torch.dtype,
    batch_size: int = 1,
    device: torch.device = CPU,
) -> Vectors:
    """What sentence-transformers makes of the texts, prompts already in front; fp32 [n, dimensions]."""
    import transformers
    from sentence_transformers import SentenceTransformer

    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    torch.set_float32_matmul_precision("highest")  # some images turn tf32 on
    reference = SentenceTransformer(
        str(checkpoint.path), device=str(device), model_kwargs={"dtype": dtype}
    )
    reference.truncate_dim = None  # whole vectors are compared
    if checkpoint.rereads_window:
        _set_window(reference, checkpoint.config.window)
    if _reads_small(checkpoint.load_tokenizer()):
        # transformers 5 forgets a Lowercase of tokenizer.json when it loads a Gemma tokenizer.
        texts = [lowered(text) for text in texts]
    vectors = reference.encode(
        list(texts),
        batch_size=batch_size,
        convert_to_tensor=True,
        show_progress_bar=False,
        prompt="",
    )
    result: Vectors = vectors.float().cpu().numpy()
    return result


def _reads_small(tokenizer: Tokenizer) -> bool:
    """Whether texts are read in small letters."""
    return np.array_equal(tokenizer.encode("A").ids, tokenizer.encode("a").ids)


def _set_window(reference: Any, reach: int) -> None:
    """Has transformers' Gemma 3 compute |i - j| <= reach in its sliding layers."""
    encoder = reference[0].auto_model
    encoder.config.sliding_window = reach + 1  # its bound is exclusive
    for layer in encoder.layers:
        if layer.self_attn.sliding_window is not None:
            layer.self_attn.sliding_window = reach + 1


def card_row(runner: Runs, checkpoint: Checkpoint, tokenizer: Tokenizer) -> Vectors:
    """Similarities of the model card's documents with its query; fp32 [4]."""
    prompts = checkpoint.prompts
    query = tokenizer.encode(CARD_QUERY, prompt=prompts.for_task("retrieval_query"))
    documents = [
        tokenizer.encode(text, prompt=prompts.for_task("retrieval_document"))
        for text in CARD_DOCUMENTS
    ]
    vectors = embed(runner, [query.ids, *(document.ids for document in documents)])
    row: Vectors = vectors[1:] @ vectors[0]
    return row


def read_texts(path: Path) -> list[str]:
    """One text a line. Raises CheckpointError, naming the file, for what cannot be read so."""
    try:
        texts = [line for line in path.read_text("utf-8").splitlines() if line]
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path}: not UTF-8 at byte {error.start + 1}; unpack what is compressed first"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    if not texts:
        raise CheckpointError(f"{path} has no text: one a line is expected")
    return texts


def sample_texts(tokenizer: Tokenizer) -> list[str]:
    """Texts of `LENGTHS` tokens, as far as the window reaches, each task's prompt before some."""
    source = sample_source(tokenizer)
    prompts = itertools.cycle(["", *(card for _, card in TASKS.values())])
    starts = itertools.count(0, 997)
    texts = []
    for length in LENGTHS:
        for _ in range(1 if length > 1000 else 3):
            if length <= tokenizer.max_tokens:
                prompt = next(prompts) if length > 31 else ""
                start = next(starts) % (len(source) // 8)
                texts.append(text_of(tokenizer, prompt, source[start:], length))
    return texts


def sample_source(tokenizer: Tokenizer) -> str:
    """The package's sample text, as often as fills the window from any start in its first eighth."""
    source = files("gemwire_server.checkpoints").joinpath("sample.txt").read_text("utf-8")
    return source * (2 + 16 * tokenizer.max_tokens // len(source))


def text_of(tokenizer: Tokenizer, prompt: str, source: str, length: int) -> str:
    """The prompt and as much of the source as makes `length` tokens, or the next smaller number."""
    low, high = 1, min(len(source), 16 * length)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            fits = len(tokenizer.encode(prompt + source[:middle], truncation=None).ids) <= length
        except InvalidInput:  # by its size alone it is too long
            fits = False
        low, high = (middle, high) if fits else (low, middle)
    return prompt + source[:low]


def print_table(
    rows: dict[str, tuple[Vectors, Vectors]], lengths: NDArray[np.int64], against: str
) -> None:
    """One block a length range, one line a contender; everything against the same reference."""
    print(f"1 - cos against the {against} reference")
    print(f"{'tokens':>11} {'n':>5}  {'':22} {'mean':>9} {'p99':>9} {'max':>9} {'max abs':>9}")
    for low, high in RANGES:
        chosen = (lengths >= low) & (lengths <= high)
        if not chosen.any():
            continue
        label = f"{lengths[chosen].min()}-{lengths[chosen].max()}"
        for name, (vectors, reference) in rows.items():
            e = Errors.of(vectors[chosen], reference[chosen])
            print(
                f"{label:>11} {chosen.sum():>5}  {name:22} "
                f"{e.mean:9.2e} {e.p99:9.2e} {e.maximum:9.2e} {e.max_abs:9.2e}"
            )


def _say(what: str) -> None:
    if sys.stderr.isatty():
        print(f"verify: {what}", file=sys.stderr)
