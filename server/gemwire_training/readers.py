"""Files of a source → passages: a title, and the text below it."""

import gzip
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lxml import etree, html

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "dt")
# Paragraphs under one title are joined until a passage has this many words.
PASSAGE_WORDS = 60
MALLARD = "{http://projectmallard.org/1.0/}"


class Passage(NamedTuple):
    """`title` is empty where the text has none."""

    title: str
    text: str


def squeeze(text: str) -> str:
    return " ".join(text.split())


def wordnet(files: Iterable[Path]) -> Iterator[Passage]:
    """Synsets: the words, and their gloss; then each example of the gloss (wndb(5WN))."""
    for file in files:
        for line in file.read_text("utf-8").splitlines():
            fields, _, gloss = line.partition(" | ")
            if line.startswith("  ") or not gloss:  # the licence, at the top
                continue
            words = fields.split()
            names = [words[4 + 2 * i].replace("_", " ") for i in range(int(words[3], 16))]
            names = [re.sub(r"\([a-z]+\)$", "", name) for name in names]
            examples = re.findall(r'"([^"]+)"', gloss)
            meaning = squeeze(re.sub(r';?\s*"[^"]*"', "", gloss)).strip("; ")
            yield Passage(", ".join(names), meaning)
            for example in examples:
                yield Passage("", example)


def dictd(files: Iterable[Path]) -> Iterator[Passage]:
    """Headwords and definitions of a dictionary in dictd's format (dictfmt(1))."""
    for index in files:
        whole = gzip.decompress(index.with_suffix(".dict.dz").read_bytes())
        spans: dict[tuple[int, int], str] = {}
        for line in index.read_text("utf-8").splitlines():
            headword, offset, length = line.split("\t")[:3]
            if not headword.startswith("00database"):
                spans.setdefault((_number(offset), _number(length)), headword)
        for (start, size), headword in sorted(spans.items()):
            entry = whole[start : start + size].decode("utf-8", "replace")
            yield Passage(headword, _definition(entry))


def _number(digits: str) -> int:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    value = 0
    for digit in digits:
        value = value * 64 + alphabet.index(digit)
    return value


def _definition(entry: str) -> str:
    """The entry without headwords, pronunciation, etymology, cross-reference marks and dates."""
    lines = entry.splitlines()
    body = list(itertools.dropwhile(lambda line: line[:1].strip() != "", lines)) or lines[1:]
    text = squeeze(" ".join(body))
    # GCIDE's quotations name their author, and each sense names its edition.
    text = re.sub(
        r"\[(?:1913 Webster|PJC|WordNet [\d.]+|Webster[^\]]*|[A-Z]{2,3})[^\]]*\]", " ", text
    )
    text = re.sub(r"^\W*(?:n|adj|v|a|adv|vt|vi|v\.t|v\.i|excl|interj)\.,?\s", "", text)
    text = re.sub(r"^(?:/[^/]+/,?\s*)+", "", text)
    text = re.sub(r"\(\d{4}-\d\d-\d\d\)|<[a-z ,/]+>|\(http[^)]*\)", " ", text)
    text = re.sub(r"[{}_|\\]", "", text)
    return squeeze(text)


def descriptions(files: Iterable[Path]) -> Iterator[Passage]:
    """Yields the short description of each package, and the first paragraph of its long one."""
    for file in files:
        for entry in file.read_text("utf-8").split("\n\n"):
            found = re.search(r"^Description-en: (.+)\n((?: (?!\.$).+\n?)+)", entry, re.M)
            if found:
                yield Passage(squeeze(found[1]), squeeze(found[2]))


def page(files: Iterable[Path]) -> Iterator[Passage]:
    """Sections of HTML pages: a heading or a term, and the paragraphs below it."""
    for file in files:
        try:
            root = html.fromstring(file.read_bytes())
        except (etree.ParserError, ValueError):
            continue
        for element in root.xpath("//script | //style | //nav | //pre | //table"):
            element.drop_tree()
        title, texts = "", list[str]()
        for element in root.iter(*HEADINGS, "p", "dd"):
            text = squeeze(element.text_content())
            if element.tag in HEADINGS:
                yield from _passages(title, texts)
                title, texts = _heading(text), []
            elif element.tag == "p" or not element.xpath(".//p"):
                texts.append(text)
        yield from _passages(title, texts)


def mallard(files: Iterable[Path]) -> Iterator[Passage]:
    """Topics of GNOME's help: the title, and the page's paragraphs (projectmallard.org)."""
    for file in files:
        root = etree.parse(file).getroot()
        title = root.find(f"{MALLARD}title")
        paragraphs = root.iterfind(f".//{MALLARD}p")
        texts = [squeeze("".join(paragraph.itertext())) for paragraph in paragraphs]
        if title is not None:
            yield from _passages(squeeze("".join(title.itertext())), texts)


def prose(files: Iterable[Path]) -> Iterator[Passage]:
    """Sentences of plain text, some at a time."""
    for file in files:
        text = squeeze(file.read_text("utf-8", "replace"))
        yield from _passages("", re.split(r"(?<=[.!?]) (?=[A-Z\"“])", text))


def _heading(text: str) -> str:
    """Without its number and what links to it."""
    return re.sub(r"^(?:Chapter|Appendix|Part)?\s*[\dA-Z]?[\d.]*\.\s+|[¶#]$", "", text).strip()


def _passages(title: str, texts: list[str]) -> Iterator[Passage]:
    words, joined = 0, list[str]()
    for text in texts:
        joined.append(text)
        words += text.count(" ") + 1
        if words >= PASSAGE_WORDS:
            yield Passage(title, " ".join(joined))
            words, joined = 0, []
    if joined:
        yield Passage(title, " ".join(joined))


READERS: dict[str, Callable[[Iterable[Path]], Iterator[Passage]]] = {
    "wordnet": wordnet,
    "dictd": dictd,
    "descriptions": descriptions,
    "html": page,
    "mallard": mallard,
    "prose": prose,
}
