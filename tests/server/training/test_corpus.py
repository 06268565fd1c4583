"""From passages to texts: what is kept, what is derived, and what is held out."""

import random
from pathlib import Path

import pytest

from gemwire_training import corpus as module
from gemwire_training.corpus import Corpus, Text, clean, collect, derived, which
from gemwire_training.readers import Passage
from gemwire_training.sources import HELD_OUT_DICTIONARIES, HELD_OUT_MANUALS, TRAINING, Source


def test_what_is_held_out_is_in_no_training_source() -> None:
    held_out = {source.package for source in (*HELD_OUT_DICTIONARIES, *HELD_OUT_MANUALS)}
    assert held_out and not held_out & {source.package for source in TRAINING}


def test_every_source_says_its_licence_once() -> None:
    packages = [source.package for source in (*TRAINING, *HELD_OUT_DICTIONARIES, *HELD_OUT_MANUALS)]
    assert len(packages) == len(set(packages))
    assert all(source.licence for source in TRAINING)


def test_clean_drops_short_foreign_and_repeated_texts_and_cuts_long_ones() -> None:
    long = " ".join(["word"] * 400)
    found = [
        Passage("", "too short"),
        Passage("a", "Привет, это не английский текст"),
        Passage("a", "x = 1; y[2] != {3, 4}; (5)"),
        Passage("a", "the same text"),
        Passage("b", "The Same Text"),
        Passage(
            "a title of far more than fourteen words that is no title but a sentence or two", long
        ),
    ]
    assert clean(found) == [
        Passage("a", "the same text"),
        Passage("", " ".join(["word"] * module.BODY_WORDS)),
    ]


def test_a_question_is_made_of_a_gloss() -> None:
    gloss = "a small reddish planet that is the 4th from the sun; minerals cover its surface"
    assert which(gloss) == "Which small reddish planet is the 4th from the sun?"
    assert which("quickly") == ""


def test_titles_become_queries() -> None:
    texts = list(derived(Passage("Mars, Red Planet", "a planet"), random.Random(0)))
    assert {"Mars, Red Planet", "Mars", "Red Planet"} <= {
        t.body for t in texts if t.kind == "short"
    }


def test_the_same_packages_make_the_same_corpus_and_it_survives_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(1)
    words = [f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(300)]
    found = [
        Passage(f"Title {words[i % 300]}", " ".join(rng.choices(words, k=20))) for i in range(400)
    ]
    monkeypatch.setattr(module, "passages", lambda source, folder: found)
    sources = [Source(package="manual", licence="none", reader="html", files="*")]

    made = [collect(tmp_path, 7, lambda line: None, sources) for _ in range(2)]
    assert made[0] == made[1]
    assert made[0] != collect(tmp_path, 8, lambda line: None, sources)
    plain = [text.plain.lower() for text in made[0].texts]
    assert len(plain) == len(set(plain))
    assert made[0].long and all(
        made[0].texts[i].kind == "body" for span in made[0].long for i in span
    )

    made[0].save(tmp_path / "corpus.json")
    assert Corpus.load(tmp_path / "corpus.json") == made[0]


def test_the_teacher_reads_the_title_in_front() -> None:
    assert Text("body", "red.", "Mars").plain == "Mars. red."
    assert Text("short", "red.").plain == "red."
