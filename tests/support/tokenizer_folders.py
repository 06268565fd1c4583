"""Folders of edited tokenizer files, and the ids that transformers gives with them."""

import json
import random
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from gemwire_server.text.tokenizer import Tokenizer
from support.reference_versions import Reference

SCRIPT = Path(__file__).with_name("reference_scripts") / "ids.py"
# Rows of the embedding: more than the 2,048 pieces of the tiny checkpoint.
ROWS = 2100
WHITE = [
    " ",
    "  ",
    "\n",
    "\t",
    "▁",
    "▁▁",
    " ▁",
    "\u3000",
    "\u00a0",
    "\r\n",
    " " * 31,
    " " * 32,
    " " * 75,
]

Ids = list[list[int]]
Edit = Callable[[dict[str, Any]], object]


def edit(path: Path, *edits: Edit, drop: Iterable[str] = (), **changes: object) -> None:
    """Changes a JSON file: sets keys, leaves some out, and lets each edit work on the whole."""
    raw: dict[str, Any] = json.loads(path.read_text("utf-8")) | changes
    for change in edits:
        change(raw)
    path.write_text(json.dumps({k: v for k, v in raw.items() if k not in drop}), "utf-8")


def copy(source: Path, target: Path, *names: str) -> Path:
    """A folder with config.json and some of the tokenizer files; all of them where none is named."""
    target.mkdir(parents=True, exist_ok=True)
    names = names or ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
    for name in ("config.json", *names):
        shutil.copy(source / name, target / name)
    return target


def added(content: str, number: int | None = None, **flags: bool) -> dict[str, Any]:
    """An entry of tokenizer.json's added tokens, or without a number of tokenizer_config.json's."""
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    entry = {"content": content} | dict.fromkeys(names, False) | flags
    return entry if number is None else {"id": number} | entry


def load(directory: Path, rows: int = ROWS, *, lower: bool = False) -> Tokenizer:
    return Tokenizer.load(directory, max_tokens=1 << 20, vocab_size=rows, lower=lower)


def ids_of(tokenizer: Tokenizer, texts: Sequence[str]) -> Ids:
    return [tokenizer.encode(text).ids.tolist() for text in texts]


def backend_of(tokenizer: Tokenizer) -> str:
    return type(tokenizer._backend).__name__.removesuffix("Backend")


def transformers_ids(
    reference: Reference,
    scratch: Path,
    *cases: tuple[Sequence[Path], Sequence[str]],
    save: Sequence[tuple[Path, Path, Sequence[dict[str, Any]]]] = (),
) -> list[list[Ids | str]]:
    """What a version's AutoTokenizer gives, or its error, by case and folder.

    Before that it adds tokens to tokenizers and saves them: `save` has source, target and tokens.
    """
    request = scratch / f"request-{reference.name}.json"
    request.write_text(json.dumps({"save": save, "cases": cases}, default=str), "utf-8")
    found: list[list[Ids | str]] = json.loads(reference.run(SCRIPT, request))
    return found


def odd_texts(rng: random.Random, words: Sequence[str], count: int) -> list[str]:
    """Texts of pieces and tokens, side by side or with odd white space between them."""
    texts: list[str] = []
    while len(texts) < count:
        parts = []
        for _ in range(rng.randint(1, 8)):
            word = rng.choice(words)
            parts.append(rng.choice([word, word, word.upper(), word[1:], word + "a"]))
            parts.append(rng.choice(["", " ", rng.choice(WHITE), rng.choice(WHITE)]))
        texts.append("".join(parts))
        if not texts[-1]:
            texts.pop()
    return texts


def words_of(directory: Path, rng: random.Random, count: int = 400) -> list[str]:
    """Pieces of a tokenizer.json as a text spells them, and every added token."""
    raw = json.loads((directory / "tokenizer.json").read_text("utf-8"))
    pieces = [piece.replace("▁", " ") for piece in rng.sample(sorted(raw["model"]["vocab"]), count)]
    return pieces + [token["content"] for token in raw["added_tokens"]]
