"""What the pages say against what is there: links, paths, flags, variables, metrics and figures."""

import argparse
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gemwire_server.cli import make_parser
from gemwire_server.config import sources
from gemwire_server.config.options import ServerConfig
from gemwire_server.observe.metrics import CallMetrics, EngineMetrics, SupervisorMetrics
from gemwire_server.processes.single import background_server
from support import pages
from uninstalled import ROOT

README_LINES, README_WORDS, CONTRIBUTING_LINES = 120, 900, 130
RESULTS = ROOT / "benchmarks" / "results"
OBSERVABILITY = ROOT / "docs" / "observability.md"
PACKAGES = ("gemwire_server", "gemwire_client", "gemwire_conformance", "gemwire_kernels", "gemwire_mini",
            "gemwire_bench", "gemwire_compat", "gemwire_training", "gemwire_v1",
            "gemwire_calls")  # fmt: skip

each_page = pytest.mark.parametrize(
    "page", pages.pages(), ids=lambda page: str(page.relative_to(ROOT))
)


def test_the_readme_is_short() -> None:
    text = pages.README.read_text("utf-8")
    assert len(text.splitlines()) <= README_LINES
    assert len(text.split()) <= README_WORDS
    assert len(pages.CONTRIBUTING.read_text("utf-8").splitlines()) <= CONTRIBUTING_LINES


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in pages.links(page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        if not there.exists() or (anchor and anchor not in pages.anchors(there.read_text("utf-8"))):
            broken.append(target)
    assert not broken


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {target.partition("#")[0] for target in pages.links(pages.README.read_text("utf-8"))}
    docs = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert docs <= linked


@each_page
def test_paths_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    packages = ROOT / "server" / "gemwire_server", ROOT / "kernels" / "gemwire_kernels"
    bases = (ROOT, page.parent, *packages)
    missing = {path for path in pages.paths(text) if not any(ROOT.glob(path))}
    missing |= {
        path for path in pages.modules(text) if not any((base / path).exists() for base in bases)
    }
    assert not missing


def test_the_map_of_the_tree_is_the_tree() -> None:
    named = list(pages.tree(pages.CONTRIBUTING.read_text("utf-8")))
    assert len(named) > 30
    assert not [path for path in named if not (ROOT / path).exists()]
    # Every package of the server is on the map.
    server = ROOT / "server" / "gemwire_server"
    packages = {str(path.parent.relative_to(ROOT)) for path in server.glob("*/__init__.py")}
    assert not [path for path in packages if not any(one.startswith(path) for one in named)]


def flags(parser: argparse.ArgumentParser) -> set[str]:
    return set(parser._option_string_actions)


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, by its name."""
    (commands,) = (
        each.choices for each in make_parser()._actions if isinstance(each.choices, dict)
    )
    return commands


@each_page
def test_flags_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    known, wrong = parsers(), set()
    for command in pages.commands(text):
        words = command.split()
        if len(words) < 2 or words[1].startswith(("-", "[", "{")):
            continue
        if words[1] not in known:
            wrong.add(command)
            continue
        used = {
            word.partition("=")[0] for word in words[2:] if word.startswith("-") and word != "-"
        }
        wrong |= {f"{command}: {flag}" for flag in used - flags(known[words[1]])}
    if page.parent.name != "benchmarks":  # whose scripts have flags of their own
        every = set.union(*map(flags, known.values()))
        alone = {code.split()[0].partition("=")[0] for code in pages.INLINE_CODE.findall(text)
                 if re.match(r"--[a-z-]+($|[ =])", code)}  # fmt: skip
        wrong |= {flag for flag in alone if "_" not in flag} - every
    assert not wrong


@each_page
def test_variables_exist(page: Path) -> None:
    known = {sources.variable(option.name) for option in fields(ServerConfig)}
    named = set(re.findall(r"\bGEMWIRE_[A-Z_]+\b", page.read_text("utf-8")))
    assert named <= known | {sources.CONFIG_VARIABLE, "GEMWIRE_NAME"}


def series() -> dict[str, set[str]]:
    """The labels of every metric, by its name as Prometheus has it: of a counter with _total."""
    registry = CollectorRegistry()
    CallMetrics(registry)
    EngineMetrics(registry, max_batch_tokens=1)
    SupervisorMetrics(registry)
    collectors: Any = registry._collector_to_names
    return {
        f"{each._name}_total" if each._type == "counter" else each._name: set(each._labelnames)
        for each in collectors
    }


@each_page
def test_metrics_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    if page == ROOT / "CHANGELOG.md":  # which names what was there
        return
    named = set(re.findall(r"\bgemwire_[a-z0-9_]*[a-z0-9]\b", text))
    assert named - set(PACKAGES) <= series().keys()


def test_every_metric_has_a_row_with_its_labels() -> None:
    documented: dict[str, set[str]] = {}
    for names, labels, _ in rows(OBSERVABILITY, "metric", "labels", "meaning"):
        for name in re.findall(r"`(\w+)`", names):
            documented[name] = set(re.findall(r"`(\w+)`", labels))
    assert documented == series()


def rows(page: Path, *columns: str) -> list[list[str]]:
    """Cells of the table with these columns."""
    lines = page.read_text("utf-8").splitlines()
    start = lines.index(f"| {' | '.join(columns)} |".replace("|  |", "| |"))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")])
    return found


def figure(cell: str) -> float:
    return float(cell.replace(",", "").removesuffix(" ms"))


def contender(name: str) -> str:
    """A row's name as the results have it: "gemwire, int8 weights" is gemwire/int8."""
    return name.removesuffix(" weights").replace(", ", "/")


@pytest.mark.parametrize(
    ("page", "columns"),
    [
        (pages.README, ("", "mixed lengths", "one query", "512 tokens", "2,048 tokens")),
        (ROOT / "benchmarks" / "README.md", ("", "mixed", "query", "512", "2,048", "error")),
    ],
    ids=["README.md", "benchmarks/README.md"],
)
def test_speeds_are_those_of_the_results(page: Path, columns: tuple[str, ...]) -> None:
    results: Any = json.loads((RESULTS / "baselines-cpu.json").read_text("utf-8"))
    table = rows(page, *columns)
    assert len(table) >= 4
    for name, *cells in table:
        for workload, cell in zip(("mixed", "query", "512", "2048"), cells, strict=False):
            median = results["workloads"][workload]["contenders"][contender(name)]["median"]
            assert figure(cell) == pytest.approx(median, abs=0.05 if "ms" in cell else 0.5)
        if len(cells) > 4 and cells[4]:
            error = results["contenders"][contender(name)]["mean_error"]
            assert figure(cells[4]) == pytest.approx(error, rel=0.05)


def test_the_readmes_claims_are_those_of_the_results() -> None:
    text = pages.README.read_text("utf-8")
    verified = (RESULTS / "verify-cpu.txt").read_text("utf-8")
    ours, theirs = re.findall(r" 3-2048 +\d+  (?:gemwire|reference) bfloat16 +(\S+)", verified)
    said = re.search(r"cos of (\S+) against (\S+),", text)
    assert said is not None
    assert [float(said[1]), float(said[2])] == pytest.approx([float(ours), float(theirs)], rel=0.01)
    goals = json.loads((RESULTS / "baselines-cpu.json").read_text("utf-8"))["goals"]
    (ratio,) = (goal["ratio"] for goal in goals if goal["workload"] == "mixed"
                and goal["theirs"] == "sentence-transformers/bfloat16")  # fmt: skip
    said = re.search(r"computes ([\d.]+) times", text)
    assert said is not None and float(said[1]) == pytest.approx(ratio, abs=0.005)
    bars = json.loads((RESULTS / "soak-cpu.json").read_text("utf-8"))["rows"]["crash"]["bars"]
    hung, _, answered = bars[:3]
    assert hung["what"] == "SIGKILL x 100: calls hung" and hung["measured"] == 0
    said = re.search(r"killed 100 times .*refused\s+within ([\d.]+) s", text, re.DOTALL)
    assert said is not None and float(said[1]) == pytest.approx(answered["measured"], abs=0.005)


def test_the_readmes_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = (
        block for language, block in pages.FENCE.findall(pages.README.read_text("utf-8"))
        if language == "python"
    )  # fmt: skip
    (tmp_path / "corpus.txt").write_text("Mars is red.\n\nVenus is hot.\n")
    monkeypatch.chdir(tmp_path)
    with background_server(ServerConfig()) as address:
        assert "127.0.0.1:50051" in example
        exec(example.replace("127.0.0.1:50051", address), {})


def test_the_ratios_of_compatible_apis_are_those_of_the_results() -> None:
    columns = ("row / row of gemwire.v1, and goal", "mini", "full")
    table = rows(ROOT / "benchmarks" / "README.md", *columns)
    results: list[Any] = [
        json.loads((RESULTS / f"compatible-apis-{model}-cpu.json").read_text("utf-8"))
        for model in columns[1:]
    ]
    assert [cells[0] for cells in table] == [goal["goal"] for goal in results[0]["goals"]]
    for number, (_, *cells) in enumerate(table):
        values = [result["goals"][number]["value"] for result in results]
        assert [float(cell) for cell in cells] == pytest.approx(values, abs=0.0051)
