"""The pages of the project, and what they name: links, headings, paths, commands."""

import re
from collections.abc import Iterator
from pathlib import Path

from uninstalled import ROOT

README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
FOLDERS = (
    "benchmarks", "clients", "deploy", "docs", "findings", "kernels", "proto", "server", "tests",
    "third_party", ".ci", ".github",
)  # fmt: skip
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
INLINE_CODE = re.compile(r"`([^`\n]+)`")
# Part of a file's name that a reader replaces, such as CARD in gpu-CARD-tiles.json.
PLACEHOLDER = re.compile(r"-[A-Z]+(?=[-.][^/]*$)")


def pages() -> list[Path]:
    """Every page that is not part of a Python package or a checkpoint."""
    folders = (".", "docs", "deploy", "benchmarks", "findings", "clients/*")
    return [page for folder in folders for page in sorted(ROOT.glob(f"{folder}/*.md"))]


def prose(text: str) -> str:
    """The text without its blocks of code."""
    return FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Targets of links that are not URLs: a path, an #anchor, or both."""
    found: list[str] = LINK.findall(prose(text))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    made: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in made:
            number += 1
        made.add(name)
    return made


def paths(text: str) -> Iterator[str]:
    """Paths below a top-level folder of the project, wherever the text names them.

    `{a,b}` gives each of its paths; a name with a placeholder gives its folder.
    """
    folders = "|".join(map(re.escape, FOLDERS))
    named = re.compile(rf"(?<![\w/.\-~])(?:{folders})/[\w./{{}},*\-]*")
    for match in named.finditer(text):
        path = match[0].rstrip(".,/")
        alternatives = re.search(r"\{([^}]*)\}", path)
        if PLACEHOLDER.search(path):
            yield path.rpartition("/")[0]
        elif alternatives is None:
            yield path
        else:
            for one in alternatives[1].split(","):
                yield path.replace(alternatives[0], one)


def modules(text: str) -> Iterator[str]:
    """Modules in inline code, named from a package's folder or from the root."""
    for code in INLINE_CODE.findall(prose(text)):
        if re.fullmatch(r"\w[\w/]*/\w+\.py", code):
            yield code


def commands(text: str) -> Iterator[str]:
    """Commands that begin with `gemwire`, in blocks of shell and in inline code."""
    for language, block in FENCE.findall(text):
        if language == "sh":
            for line in block.replace("\\\n", " ").splitlines():
                yield from _gemwire(line.partition("#")[0])
    for code in INLINE_CODE.findall(prose(text)):
        yield from _gemwire(code)


def _gemwire(line: str) -> Iterator[str]:
    for part in re.split(r"\||&&|;", line):
        if found := re.match(r"\s*(?:\w+=\S+ +)*(?:\.venv/bin/)?(gemwire(?: .*)?)$", part):
            yield found[1].strip()


def tree(text: str) -> Iterator[str]:
    """Paths of a map: a path, two spaces and its description a line, indented below its folder."""
    block = next(block for _, block in FENCE.findall(text) if "third_party/" in block)
    above: list[tuple[int, str]] = []
    for line in block.splitlines():
        indent = len(line) - len(line.lstrip())
        name = line.split()[0]
        above = [(depth, folder) for depth, folder in above if depth < indent]
        path = "".join(folder for _, folder in above) + name
        above.append((indent, path.removeprefix("".join(folder for _, folder in above))))
        yield path.rstrip("/")
