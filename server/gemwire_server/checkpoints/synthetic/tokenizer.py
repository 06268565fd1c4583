"""Writes the tokenizer files of a synthetic checkpoint, which all derive from tokenizer.model."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import sentencepiece
import tokenizers
from google.protobuf.message import DecodeError
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from gemwire_server.errors import CheckpointError

SPECIAL = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
# Gemma's whitespace runs; a lone space is an ordinary piece.
RUNS = [char * n for char in "\n▁\t" for n in range(1, 32) if (char, n) != ("▁", 1)]
# The most pieces to train: the sample has text for a few more.
TRAINED_PIECES = 4096
SAMPLE = Path(__file__).parents[1] / "sample.txt"


def write_tokenizer(directory: Path, model: Path | None, vocab_size: int) -> None:
    """Writes the five files. `model` is a SentencePiece model to copy; None trains one."""
    if model is None:
        lines = iter(SAMPLE.read_text("utf-8").splitlines())
        serialized = train_pieces(lines, min(vocab_size, TRAINED_PIECES))
    else:
        serialized = model.read_bytes()
    (directory / "tokenizer.model").write_bytes(serialized)
    converted = convert(serialized, vocab_size)
    converted.save(str(directory / "tokenizer.json"))
    entries = {
        role: {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
        }
        for role, token in SPECIAL.items()
    }
    config = {
        "add_bos_token": True,
        "add_eos_token": True,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "padding_side": "right",
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizerFast",
        **SPECIAL,
    }
    for name, value in (("special_tokens_map", entries), ("tokenizer_config", config)):
        (directory / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def train_pieces(lines: Iterator[str], vocab_size: int) -> bytes:
    """Trains a SentencePiece model of that many pieces, with Gemma's settings."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece=SPECIAL["pad_token"],
        eos_piece=SPECIAL["eos_token"],
        bos_piece=SPECIAL["bos_token"],
        unk_piece=SPECIAL["unk_token"],
        control_symbols=["<mask>", "<start_of_turn>", "<end_of_turn>"],
        user_defined_symbols=RUNS,
        byte_fallback=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        split_digits=True,
        num_threads=1,  # more threads give the same pieces, and are slower on so little text
        minloglevel=2,
    )
    return model.getvalue()


def convert(serialized: bytes, vocab_size: int) -> tokenizers.Tokenizer:
    """Converts the model for HF `tokenizers`, in the structure of Gemma's published tokenizer.json."""
    kind = ModelProto.SentencePiece
    try:
        pieces = ModelProto.FromString(serialized).pieces
    except DecodeError:
        raise CheckpointError("the tokenizer is not a SentencePiece model") from None
    if len(pieces) > vocab_size:
        raise CheckpointError(
            f"the tokenizer has {len(pieces)} pieces; the geometry has room for {vocab_size}"
        )
    vocab = {piece.piece: i for i, piece in enumerate(pieces)}
    if missing := [token for token in SPECIAL.values() if token not in vocab]:
        raise CheckpointError(f"the tokenizer has no piece {missing[0]}: not a Gemma tokenizer")
    # Every way to make a piece of two others. HF applies the merges in their order; SentencePiece
    # always makes the piece of the best score, and never breaks a run of white space for another
    # piece. So, as in transformers' conversion, runs come before pieces that score the same.
    merges = []
    for number, piece in enumerate(pieces):
        text = piece.piece
        for i in range(1, len(text)):
            if text[:i] in vocab and text[i:] in vocab:
                merges.append((-piece.score, -i, i - len(text), number, text[:i], text[i:]))
    merges.sort()
    converted = tokenizers.Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=[merge[-2:] for merge in merges],
            unk_token=SPECIAL["unk_token"],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    converted.normalizer = normalizers.Replace(" ", "▁")
    converted.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    converted.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    bos, eos = SPECIAL["bos_token"], SPECIAL["eos_token"]
    converted.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {bos} $B {eos}",
        special_tokens=[(bos, vocab[bos]), (eos, vocab[eos])],
    )
    special = [p.piece for p in pieces if p.type in (kind.CONTROL, kind.UNKNOWN)]
    symbols = [p.piece for p in pieces if p.type == kind.USER_DEFINED]
    converted.add_special_tokens([AddedToken(text, normalized=False) for text in special])
    converted.add_tokens([AddedToken(text, normalized=False, special=False) for text in symbols])
    return converted
