"""The special tokens: those put before and after a text, and all that stand for none."""

import json
import logging
from itertools import takewhile
from typing import Any

from gemwire_server.errors import CheckpointError
from gemwire_server.text.backends import Backend
from gemwire_server.text.tokenizer_files import TokenizerFiles, parse

log = logging.getLogger(__name__)


def read_special_tokens(
    files: TokenizerFiles, backend: Backend, vocab_size: int
) -> tuple[list[int], list[int]]:
    """The ids put before and after a text.

    tokenizer.json's post-processor decides, as in transformers 5; where there is no tokenizer.json,
    tokenizer_config.json's `add_bos_token` and `add_eos_token` do. Raises CheckpointError if neither
    says it, and for tokens that the model does not have.
    """
    if files.tokenizer is None:
        return _configured(files, backend, "bos"), _configured(files, backend, "eos")
    before, after = _post_processed(files, files.tokenizer)
    for token in before + after:
        if token >= vocab_size:
            raise CheckpointError(
                f"{files.path('tokenizer.json')}: its post-processor adds token {token}; the model "
                f"has {vocab_size} tokens"
            )
    for name, there in (("bos", before), ("eos", after)):
        key = f"add_{name}_token"
        if not files.gemma or key not in files.config:
            continue
        named = files.special_tokens().get(f"{name}_token") if files.config[key] else None
        if there != ([] if named is None else [backend.id_of(named)]):
            log.warning(
                "%s: %s is %s and %s_token %s, but tokenizer.json's post-processor says otherwise and "
                "decides, as in transformers 5; transformers 4 does as these keys say",
                files.path("tokenizer_config.json"),
                key,
                json.dumps(files.config[key]),
                name,
                json.dumps(named),
            )
    return before, after


def textless_ids(files: TokenizerFiles, backend: Backend, vocab_size: int) -> frozenset[int]:
    """The ids of all special tokens, which stand for no text, as transformers knows them: those that a
    file marks or names.
    """
    marked = {token.id for token in files.added if token.special}
    named = {backend.id_of(token) for token in files.special_tokens().values()}
    ids = backend.special | marked | named
    return frozenset(token for token in ids if token is not None and token < vocab_size)


def _post_processed(
    files: TokenizerFiles, tokenizer: dict[str, Any]
) -> tuple[list[int], list[int]]:
    path = files.path("tokenizer.json")
    # Its ids are its own: it needs no vocabulary.
    model = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
    probe = parse(path, tokenizer | {"model": model, "added_tokens": [], "normalizer": None})
    encoded = probe.encode("a")
    marks = list(zip(encoded.ids, encoded.special_tokens_mask, strict=True))
    before, after = (
        [token for token, _ in takewhile(lambda mark: mark[1], side)]
        for side in (marks, reversed(marks))
    )
    if len(before) + 1 + len(after) != len(marks):
        raise CheckpointError(
            f"{path}: a post-processor that does more than to put tokens before and after a text is "
            "not implemented"
        )
    return before, after[::-1]


def _configured(files: TokenizerFiles, backend: Backend, name: str) -> list[int]:
    path, key = files.path("tokenizer_config.json"), f"add_{name}_token"
    if key == "add_bos_token" and key not in files.config:
        raise CheckpointError(
            f"{path}: which special tokens go around a text is said neither by add_bos_token nor by a "
            "tokenizer.json; transformers 4 puts <bos> before it, transformers 5 does not"
        )
    if not files.config.get(key):
        return []
    token = files.special_tokens().get(f"{name}_token")
    if token is None:
        raise CheckpointError(f"{path}: {key} is true, but there is no {name}_token")
    if (number := backend.id_of(token)) is None:
        raise CheckpointError(f"{path}: {name}_token {token!r} is not in the vocabulary")
    return [number]
