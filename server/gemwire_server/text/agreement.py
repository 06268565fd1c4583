"""Whether SentencePiece on tokenizer.model gives the ids of tokenizer.json, for every text.

SentencePiece makes the piece of the best score of two neighbours, from the left; HF's BPE applies the
first merge of a list, from the left. They agree where the list has every way to make a piece, in the
order of the scores, and where nothing else divides a text differently. None of it is tried out on
texts: each condition is compared for the whole vocabulary.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemwire_server.text.sentencepiece_model import KIND, SPACE, Pieces
from gemwire_server.text.space_runs import SpaceRuns
from gemwire_server.text.tokenizer_files import BYTES, AddedToken

# A longer piece than any that is trained: the comparison takes memory for each character.
LONGEST = 128
TABLE_BITS = 24


class Disagreement(Exception):
    """The two tokenizers differ, or may differ. The message is a clause that says where."""


def agree(
    pieces: Pieces,
    model: dict[str, Any],
    added: Sequence[AddedToken],
    vocab_size: int,
    *,
    lower: bool = False,
) -> SpaceRuns | None:
    """Returns how SentencePiece must treat spaces in a row, if all ids are equal; raises
    Disagreement if not.

    `model` is the section of tokenizer.json, of BPE. Tokens of `added` below `vocab_size` count.
    With `lower` texts are lowercased.
    """
    vocabulary: dict[str, int] = model["vocab"]
    count = len(pieces.names)
    in_order = list(vocabulary) == pieces.names and [*vocabulary.values()] == [*range(count)]
    if not in_order and vocabulary != pieces.ids:
        raise Disagreement(f"the vocabularies differ ({len(vocabulary)} and {count} pieces)")
    symbols = pieces.symbols
    ours = {token.content: token.id for token in added if token.id < vocab_size}
    if ours != symbols:
        name = min(set(ours.items()) ^ set(symbols.items()))[0]
        raise Disagreement(f"the added token {name!r} is in one of them alone")
    for token in added:
        if token.id < vocab_size and not token.plain:
            raise Disagreement(f"the added token {token.content!r} does not match plainly")
    if (reason := uncertain(pieces, lower=lower)) is not None:
        raise Disagreement(reason)
    try:
        # Older files have the two pieces of a merge as one text.
        merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
        results = np.array([vocabulary.get(left + right, -1) for left, right in merges], np.int64)
    except (KeyError, TypeError, ValueError):
        raise Disagreement("the merges are no pairs of pieces") from None
    _check_merges(pieces, merges, results)
    return _space_runs(pieces, merges, results)


def uncertain(pieces: Pieces, *, lower: bool = False) -> str | None:
    """Raises Disagreement for pieces that SentencePiece may read otherwise than a conversion of them."""
    chosen = pieces.kinds == KIND.NORMAL
    normal = list(compress(pieces.names, chosen.tolist()))
    known, symbols = {*normal}, pieces.named(KIND.USER_DEFINED)
    if (pieces.kinds == KIND.UNUSED).any():
        return "there are unused pieces"
    if pieces.named(KIND.BYTE).keys() != BYTES:
        return "there are not 256 pieces for the bytes"
    if max(map(len, normal), default=0) > LONGEST:
        return f"a piece has more than {LONGEST} characters"
    if np.unique(pieces.scores[chosen]).size != len(normal):
        return "pieces have the same score"
    everything = "\n".join(normal)
    if "<0x" in everything and any(byte in everything for byte in BYTES):
        return "a piece holds the name of a byte"
    if not {*"".join(normal)} <= known | symbols.keys():
        return "a character of a piece is no piece"
    runs = pieces.runs.keys()
    spaced = {symbol for symbol in pieces.symbols if SPACE in symbol}
    if SPACE not in known or not spaced == runs == {SPACE * n for n in range(2, len(runs) + 2)}:
        return f"the symbols with '{SPACE}' are not the runs of spaces"
    if runs and SPACE * 2 in everything:
        return f"a piece holds '{SPACE * 2}'"
    special = pieces.named(KIND.CONTROL, KIND.UNKNOWN).keys()
    if _overlap(special | runs, symbols.keys() - runs):
        return "symbols overlap"
    # HF finds symbols before it lowercases, and pieces after that.
    if lower and any(symbol.lower() != symbol.upper() for symbol in symbols):
        return "a symbol has letters, and texts are read in small ones"
    if lower and any(_cuts(token, known) for token in special):
        return "a special token can be made of pieces, and texts are read in small letters"
    return None


def _cuts(word: str, pieces: Collection[str]) -> bool:
    """Whether two pieces make the word."""
    return any(word[:i] in pieces and word[i:] in pieces for i in range(1, len(word)))


def _overlap(some: Collection[str], others: Collection[str]) -> bool:
    """Whether a piece of one group and one of the other may share characters of a text."""

    def heads(words: Collection[str]) -> set[str]:
        return {word[:i] for word in words for i in range(1, len(word) + 1)}

    def tails(words: Collection[str]) -> set[str]:
        return {word[i:] for word in words for i in range(len(word))}

    def meet(a: Collection[str], b: Collection[str]) -> bool:
        all_of_b = "\0".join(b)
        return not heads(a).isdisjoint(tails(b)) or any(word in all_of_b for word in a)

    return meet(some, others) or meet(others, some)


def _space_runs(
    pieces: Pieces, merges: Sequence[Sequence[str]], results: NDArray[np.int64]
) -> SpaceRuns | None:
    """Returns what the merges make of spaces in a row; None where no piece is a run of spaces."""
    if not (ids := pieces.runs):
        return None
    chosen = np.flatnonzero(np.isin(results, list(ids.values()))).tolist()
    runs = SpaceRuns(
        {SPACE: pieces.names.index(SPACE)} | ids, [(merges[i][0], merges[i][1]) for i in chosen]
    )
    if not runs.whole:
        raise Disagreement(f"the merges of '{SPACE}' differ")
    return runs


def _check_merges(
    pieces: Pieces, merges: Sequence[Sequence[str]], results: NDArray[np.int64]
) -> None:
    """`results` has the piece that each merge makes, -1 for none."""
    if (results < 0).any():
        raise Disagreement("a merge makes no piece")
    kinds = pieces.kinds[results]
    if (kinds == KIND.BYTE).any():
        raise Disagreement("a merge makes a byte")
    normal, other = np.flatnonzero(kinds == KIND.NORMAL), np.flatnonzero(kinds != KIND.NORMAL)
    first = normal.min(initial=len(merges))
    # SentencePiece never breaks a run for another piece.
    if any(SPACE in merges[i][0] for i in other[other > first].tolist()):
        raise Disagreement(f"a merge of '{SPACE}' comes late")
    # Sorted by falling score, and for one piece with the longest left part first.
    results = results[normal]
    cuts = np.array([len(left) for left, _ in merges], np.int64)[normal]
    falls = np.diff(pieces.scores[results]) < 0
    falls |= (np.diff(results) == 0) & (np.diff(cuts) < 0)
    if not falls.all():
        raise Disagreement("the merges are in another order than the scores")
    if next(_missing(pieces, results, cuts), None) is not None:
        raise Disagreement("a merge is missing")


def _missing(
    pieces: Pieces, results: NDArray[np.int64], cuts: NDArray[np.int64]
) -> Iterator[tuple[str, str]]:
    """Finds two pieces that make a third, which no merge does: merge i cuts piece `results[i]` at
    `cuts[i]`.

    There are millions of places to cut. A table of hashes says of most that one side is no piece;
    it is never wrong in that, and the others are looked up.
    """
    numbers = np.flatnonzero(pieces.kinds == KIND.NORMAL)
    names = [pieces.names[number] for number in numbers.tolist()]
    known = set(names)
    lengths = np.array(list(map(len, names)), np.int64)
    longest = int(lengths.max(initial=1))
    # [longest, pieces]
    codes = np.array(names, f"U{longest}").view(np.uint32).reshape(len(names), longest).T.copy()
    listed = np.zeros((len(names), longest), bool)
    listed[np.searchsorted(numbers, results), cuts] = True
    base, mix = (np.uint64(random.getrandbits(64) | 1) for _ in range(2))
    powers = np.cumprod(np.full(longest, base, np.uint64), dtype=np.uint64)

    def place(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return hashes * mix >> np.uint64(64 - TABLE_BITS)

    whole = np.zeros(len(names), np.uint64)
    for i in range(longest):
        whole = np.where(i < lengths, whole * base + codes[i], whole)
    table = np.zeros(1 << TABLE_BITS, bool)
    table[place(whole)] = True
    head = np.zeros(len(names), np.uint64)
    for i in range(1, longest):
        head = head * base + codes[i - 1]
        rows = np.flatnonzero((i < lengths) & ~listed[:, i])
        tail = whole[rows] - head[rows] * powers[lengths[rows] - i - 1]
        likely = table[place(head[rows])] & table[place(tail)]
        for row in rows[likely].tolist():
            left, right = names[row][:i], names[row][i:]
            if left in known and right in known:
                yield left, right
