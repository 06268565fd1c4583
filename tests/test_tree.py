"""What tests and benchmarks may import and read."""

import ast
from collections.abc import Iterator
from pathlib import Path

from uninstalled import ROOT

TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
TOP_LEVEL = {path.name for path in ROOT.iterdir() if path.is_dir()}


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text()))


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever it does."""
    for node in nodes(path):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)


def wrong_imports(paths: list[Path], is_wrong: object) -> list[str]:
    assert callable(is_wrong) and len(paths) > 20
    found = [(path, name) for path in paths for name in imports(path) if is_wrong(name.split("."))]
    return [f"{path.relative_to(ROOT)}: {name}" for path, name in found]


def test_no_test_is_imported() -> None:
    """What several tests share is in tests/support."""

    def is_test(name: list[str]) -> bool:
        return any(part.startswith("test_") or part == "conftest" for part in name[:-1])

    assert wrong_imports(TESTS + BENCHMARKS, is_test) == []


def test_no_import_is_named_like_a_top_level_folder() -> None:
    """Which folder it finds would depend on where Python is started."""
    assert wrong_imports(TESTS + BENCHMARKS, lambda name: name[0] in TOP_LEVEL) == []


def test_benchmarks_import_no_tests() -> None:
    assert wrong_imports(BENCHMARKS, lambda name: name[0] in ("support", "gpu")) == []


def test_no_test_reads_outside_the_repository() -> None:
    """But for what GEMMA_TOKENIZER names, and what the system says of processes."""
    found = []
    for path in TESTS:
        for node in nodes(path):
            match node:
                case ast.Call(func=ast.Name(id="Path" | "open"), args=[first, *_]):
                    text = ast.unparse(first).lstrip("fr")[1:]
                    if text.startswith(("/", "~", "../")) and not text.startswith("/proc/"):
                        found.append(f"{path.relative_to(ROOT)}: {ast.unparse(node)}")
                case ast.Attribute(attr="home" | "expanduser"):
                    found.append(f"{path.relative_to(ROOT)}: {ast.unparse(node)}")
    assert found == []


def test_no_docstring_begins_with_of() -> None:
    """Such a docstring has no verb, and its subject comes last."""
    found = []
    for folder in ("server", "kernels", "clients", "benchmarks", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in nodes(path):
                if isinstance(
                    node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
                ):
                    text = ast.get_docstring(node) or ""
                    found += [f"{path.relative_to(ROOT)}: {text[:50]}"] * text.startswith("Of ")
    assert found == []
