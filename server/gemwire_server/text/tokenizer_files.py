"""Reads the tokenizer files of a folder together, as transformers reads them.

tokenizer.json decides wherever it lies; tokenizer.model alone does only without it. What a file says
that changes ids and is not implemented, or that transformers' versions read differently, is refused
by name. docs/tokenizers.md has the rules.
"""

import gc
import json
import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tokenizers

from gemwire_server.errors import CheckpointError
from gemwire_server.json_files import read_json, read_json_if_there
from gemwire_server.text.sentencepiece_model import SPACE

log = logging.getLogger(__name__)

TO_SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
LOWERCASE = {"type": "Lowercase"}
GEMMA = "GemmaTokenizer"
# The class that takes tokenizer.json as it is, by its names in transformers 4 and 5.
GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")
# Special tokens that GemmaTokenizer has where no file names them.
DEFAULTS = {
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token found in a text before the text is cut into pieces.

    Flags as in HF `tokenizers`: `lstrip` and `rstrip` take the white space beside it, `single_word`
    finds it only between characters of no word, `normalized` looks in the text with "▁" for " ".
    """

    content: str
    id: int
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False
    special: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is found wherever it is spelled, and takes nothing else."""
        return not (self.lstrip or self.rstrip or self.single_word or self.normalized)


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """The parsed files of a folder: `tokenizer` is tokenizer.json, None where there is none."""

    directory: Path
    config: dict[str, Any]
    tokenizer: dict[str, Any] | None
    gemma: bool
    """Whether transformers reads the folder with its GemmaTokenizer."""
    added: tuple[AddedToken, ...]
    """The tokens of tokenizer.json, or without it of tokenizer_config.json; some may lie past the
    embedding.
    """

    @property
    def split_special_tokens(self) -> bool:
        """Whether a special token that a text spells is read as its characters."""
        return bool(self.config.get("split_special_tokens"))

    @property
    def lower(self) -> bool:
        """Whether tokenizer.json lowercases a text."""
        return self.tokenizer is not None and LOWERCASE in _steps(self.tokenizer["normalizer"])

    def path(self, name: str) -> Path:
        return self.directory / name

    def special_tokens(self) -> dict[str, str]:
        """Returns every special token that a file names, by its key, as transformers reads them."""
        named = dict(_named(self.config))
        if "added_tokens_decoder" not in self.config:
            named |= dict(_named(read_json_if_there(self.path("special_tokens_map.json"))))
        if self.gemma:
            named = {k: v for k, v in DEFAULTS.items() if k not in self.config} | named
        return named

    def check_special_tokens(
        self, known: Container[str], vocabulary: Mapping[str, int], vocab_size: int
    ) -> None:
        """Raises CheckpointError if transformers would add a special token that is not `known`."""
        for key, content in self.special_tokens().items():
            if content in known or vocabulary.get(content, len(vocabulary)) >= vocab_size:
                continue
            where = "tokenizer.json" if self.tokenizer is not None else "tokenizer.model"
            raise CheckpointError(
                f"{self.directory}: the special token {content!r} ({key}) is no added token of "
                f"{where}; transformers would make it one when it loads: save the tokenizer with "
                "save_pretrained, so that tokenizer.json has it"
            )


def read_files(directory: Path, vocab_size: int) -> TokenizerFiles:
    """Raises CheckpointError for files that are missing, contradict each other or are not implemented.

    What they say of tokens from `vocab_size` on, which have no row in the embedding, changes nothing.
    """
    if not any((directory / name).exists() for name in ("tokenizer.json", "tokenizer.model")):
        raise CheckpointError(f"{directory}: neither tokenizer.json nor tokenizer.model is here")
    config = read_json_if_there(directory / "tokenizer_config.json")
    gemma = _is_gemma(directory, config)
    _refuse_settings(directory / "tokenizer_config.json", config)
    path = directory / "tokenizer.json"
    tokenizer = None
    listed = _listed(directory, config)
    added = listed or ()
    if path.exists():
        tokenizer = read_json(path)
        added = _check_tokenizer(path, tokenizer)
        # Sorted by id, the order in which transformers adds them.
        added = tuple(sorted(added, key=lambda token: token.id))
        _check_listed(directory, config, listed, added, vocab_size)
        for token in added:
            if token.id >= vocab_size:
                tokenizer["model"]["vocab"].pop(token.content, None)
    files = TokenizerFiles(directory, config, tokenizer, gemma, added)
    if files.lower and gemma:
        log.warning(
            "%s: texts are read in small letters, as tokenizer.json says; GemmaTokenizer of "
            "transformers 5 leaves them as they are",
            path,
        )
    return files


def _is_gemma(directory: Path, config: dict[str, Any]) -> bool:
    name = config.get("tokenizer_class")
    name = name or read_json_if_there(directory / "config.json").get("tokenizer_class")
    if name is None or name in (GEMMA, f"{GEMMA}Fast"):
        return True
    if name in GENERIC:
        return False
    raise CheckpointError(
        f"{directory}: tokenizer_class {name!r} is not implemented; {GEMMA} and {GENERIC[0]} are"
    )


def _refuse_settings(path: Path, config: dict[str, Any]) -> None:
    for key, harmless in (("fast_tokenizer_files", ["tokenizer.json"]), ("init_inputs", [])):
        if config.get(key) not in (None, [], harmless):
            raise CheckpointError(f"{path}: {key} is {config[key]}: not implemented")


def _check_tokenizer(path: Path, raw: dict[str, Any]) -> tuple[AddedToken, ...]:
    """Returns the added tokens of a tokenizer.json. Raises CheckpointError for a setting that is
    not implemented.
    """
    try:
        model, split = raw["model"], raw["pre_tokenizer"]
        if model["type"] != "BPE" or not model["byte_fallback"]:
            raise CheckpointError(f"{path}: only BPE with byte_fallback is implemented")
        if not model["vocab"].keys() >= BYTES:
            raise CheckpointError(f"{path}: only a vocabulary with all 256 bytes is implemented")
        for key in ("dropout", "ignore_merges", "continuing_subword_prefix", "end_of_word_suffix"):
            if model.get(key):
                raise CheckpointError(f"{path}: {key} {model[key]!r} of BPE is not implemented")
        if [step for step in _steps(raw["normalizer"]) if step != LOWERCASE] != [TO_SPACE]:
            raise CheckpointError(
                f"{path}: only the normalizer ' ' to '{SPACE}', with or without Lowercase, is "
                "implemented"
            )
        # No " " is left for the published one to split at.
        if split is not None and (split["type"], split.get("pattern")) != (
            "Split",
            {"String": " "},
        ):
            raise CheckpointError(
                f"{path}: the pre-tokenizer {split['type']} is not implemented; a Split at ' ' is"
            )
        return tuple(AddedToken(**token) for token in raw["added_tokens"])
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a tokenizer.json: {error!r}") from None


def _steps(normalizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    if normalizer is None:
        return []
    return normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]


def _listed(directory: Path, config: dict[str, Any]) -> tuple[AddedToken, ...]:
    """Returns the added tokens of tokenizer_config.json, or of the older added_tokens.json."""
    path = directory / "tokenizer_config.json"
    try:
        if (decoder := config.get("added_tokens_decoder")) is not None:
            return tuple(
                AddedToken(id=int(number), **{k: v for k, v in token.items() if k != "__type"})
                for number, token in decoder.items()
            )
        path = directory / "added_tokens.json"
        older = read_json_if_there(path)
        return tuple(AddedToken(content, int(number)) for content, number in older.items())
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a list of added tokens: {error!r}") from None


def _check_listed(
    directory: Path,
    config: dict[str, Any],
    listed: Sequence[AddedToken],
    added: Sequence[AddedToken],
    vocab_size: int,
) -> None:
    """Raises CheckpointError if another list of added tokens has others than tokenizer.json has.

    The list of tokenizer_config.json must have all of them with their flags.
    """
    whole = "added_tokens_decoder" in config
    name = "tokenizer_config.json's added_tokens_decoder" if whole else "added_tokens.json"

    def named_tokens(tokens: Sequence[AddedToken]) -> set[AddedToken]:
        rows = [token for token in tokens if token.id < vocab_size]
        if not whole:
            return {AddedToken(token.content, token.id) for token in rows}
        if config.get("split_special_tokens"):
            return {*rows}
        return {replace(token, special=False) for token in rows}  # no id depends on it

    named, known = named_tokens(listed), named_tokens(added)
    differing = named ^ known if whole else named - known
    if differing:
        raise CheckpointError(
            f"{directory}: {name} and tokenizer.json differ in the added token "
            f"{min(token.content for token in differing)!r}; which one counts depends on the version "
            "of transformers: save the tokenizer again with save_pretrained"
        )


def _named(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if key in ("extra_special_tokens", "additional_special_tokens"):
            entries = value.values() if isinstance(value, dict) else value or ()
            yield from ((f"{key} {_text(entry)}", _text(entry)) for entry in entries)
        elif key.endswith("_token") and isinstance(value, str | dict):
            yield key, _text(value)


def _text(token: object) -> str:
    return str(token["content"] if isinstance(token, dict) and "content" in token else token)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Stops the garbage collector, which would scan the millions of values of a vocabulary many times."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def parse(path: Path, raw: dict[str, Any] | None = None) -> tokenizers.Tokenizer:
    """Makes HF's engine, which neither cuts nor pads, of a tokenizer.json, or of `raw`, an edited one."""
    try:
        if raw is None:
            parsed = tokenizers.Tokenizer.from_file(str(path))
        else:
            parsed = tokenizers.Tokenizer.from_str(json.dumps(raw))
    except Exception as error:  # the library raises no narrower type
        raise CheckpointError(f"{path}: not a tokenizer.json: {error}") from None
    parsed.no_truncation()
    parsed.no_padding()
    return parsed
