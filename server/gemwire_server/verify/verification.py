"""Runs the comparison and prints it."""

import gc
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from gemwire_server.checkpoints import Checkpoint, open_configured
from gemwire_server.config.options import ServerConfig
from gemwire_server.runners.choose import Runner, batch_tokens, load_runner
from gemwire_server.text.tokenizer import Truncation
from gemwire_server.verify.comparison import (
    NEIGHBOURS,
    Errors,
    gate,
    gate_bf16,
    gate_int8,
    overlap,
    print_table,
)
from gemwire_server.verify.embedding import BATCH_TOKENS, embed
from gemwire_server.verify.model_card import CARD_MODEL, CARD_ROW, CARD_TOLERANCE, card_row
from gemwire_server.verify.reference import reference_vectors
from gemwire_server.verify.texts import read_texts, sample_texts


def run(
    config: ServerConfig,
    texts: Path | None,
    against: str,
    load: Callable[[Checkpoint, ServerConfig], Runner] = load_runner,
) -> int:
    """Prints the table. Returns 0 inside the gate, 1 outside. `against` is "fp32" or "bf16"."""
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
        failures = gate_bf16(Errors.of(*rows[name]), int8)
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


def _say(what: str) -> None:
    if sys.stderr.isatty():
        print(f"verify: {what}", file=sys.stderr)
