"""Each format of a source, in files as the packages have them."""

import gzip
import string
from pathlib import Path

from gemwire_training.readers import Passage, descriptions, dictd, mallard, page, prose, wordnet


def test_wordnet_gives_words_with_their_gloss_and_examples_apart(tmp_path: Path) -> None:
    file = tmp_path / "data.noun"
    file.write_text(
        "  1 This software and database is being provided to you\n"
        "02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 02083346 n 0000 "
        '| a member of the genus Canis; "the dog barked all night"  \n'
        "00001234 00 a 01 galore(ip) 0 000 | existing in abundance  \n"
    )
    assert list(wordnet([file])) == [
        Passage("dog, domestic dog, Canis familiaris", "a member of the genus Canis"),
        Passage("", "the dog barked all night"),
        Passage("galore", "existing in abundance"),
    ]


def test_dictd_cuts_entries_at_the_index_and_drops_what_is_no_definition(tmp_path: Path) -> None:
    entries = {
        "00databaseinfo": "where it is from\n",
        "Abditory": 'Abditory \\Ab"di*to*ry\\, n. [L. abditorium.]\n'
        "   A place for hiding {articles} of value. --Cowell.\n   [1913 Webster]\n",
        "heap": "heap\n\n   <programming> A pool of memory\n   for objects. (1996-02-26)\n",
    }
    body, index = b"", ""
    for headword, entry in entries.items():
        index += f"{headword}\t{number(len(body))}\t{number(len(entry.encode()))}\n"
        body += entry.encode()
    (tmp_path / "d.index").write_text(index)
    (tmp_path / "d.dict.dz").write_bytes(gzip.compress(body))
    assert list(dictd([tmp_path / "d.index"])) == [
        Passage("Abditory", "A place for hiding articles of value. --Cowell."),
        Passage("heap", "A pool of memory for objects."),
    ]


def number(value: int) -> str:
    """As dictfmt writes it: base64's digits, the most significant first."""
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    return (number(value // 64) if value >= 64 else "") + alphabet[value % 64]


def test_a_page_gives_paragraphs_below_their_heading(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(
        "<html><body><nav><p>Home</p></nav><h2>13.1. Introduction</h2>"
        "<p>Data is <b>kept</b>\n safe.</p><pre>SELECT 1;</pre><p>It is.</p>"
        "<dl><dt>lock</dt><dd>What others wait for.</dd></dl></body></html>"
    )
    assert list(page([file])) == [
        Passage("Introduction", "Data is kept safe. It is."),
        Passage("lock", "What others wait for."),
    ]


def test_an_empty_page_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "empty.html").write_bytes(b"")
    assert list(page([tmp_path / "empty.html"])) == []


def test_mallard_gives_the_title_with_the_text(tmp_path: Path) -> None:
    file = tmp_path / "topic.page"
    file.write_text(
        '<page xmlns="http://projectmallard.org/1.0/"><info><desc>no</desc></info>'
        "<title>Read in Braille</title><p>The <app>Orca</app> reader.</p></page>"
    )
    assert list(mallard([file])) == [Passage("Read in Braille", "The Orca reader.")]


def test_prose_joins_sentences(tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    long = " ".join(["Long", *["word"] * 70]) + "."
    file.write_text(f"Call me\nIshmael.\n\n{long} The end.")
    assert list(prose([file])) == [
        Passage("", f"Call me Ishmael. {long}"),
        Passage("", "The end."),
    ]


def test_descriptions_give_their_first_paragraph(tmp_path: Path) -> None:
    file = tmp_path / "Translation-en"
    file.write_text(
        "Package: 0ad\nDescription-md5: d943\nDescription-en: Real-time strategy\n"
        " 0 A.D. is a game of\n ancient warfare.\n .\n It is free.\n\n"
        "Package: none\nDescription-md5: d944\n"
    )
    assert list(descriptions([file])) == [
        Passage("Real-time strategy", "0 A.D. is a game of ancient warfare.")
    ]
