"""The line that says what was skipped."""

import subprocess
import sys
from pathlib import Path

from support.skips import summary
from uninstalled import ROOT

SKIPPED = """
import pytest

@pytest.mark.parametrize("n", range(3))
def test_without_a_device(n):
    pytest.skip("no CUDA device")

def test_without_a_library():
    pytest.importorskip("no_such_library")

@pytest.mark.skipif(True, reason="there is no C++ compiler")
def test_without_a_compiler():
    pass

def test_that_passes():
    pass
"""
MODULE = """
import pytest

pytest.importorskip("no_such_library.part")
"""


def test_reasons_are_counted_and_sorted() -> None:
    assert summary([]) == ""
    imports = [
        "Skipped: could not import 'a.b': No module named 'a'",
        "Skipped: not installed: No module named 'a'",
    ]
    assert summary(["Skipped: z", "Skipped: b", *imports, "Skipped: b", "Skipped: b"]) == (
        "skipped: 3 b; 2 a is not installed; 1 z"
    )


def test_a_run_ends_with_one_line_of_skips(tmp_path: Path) -> None:
    """With this repository's own hook, in a run of its own."""
    (tmp_path / "test_skipped.py").write_text(SKIPPED)
    (tmp_path / "test_module.py").write_text(MODULE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    plugins = ["-p", "no:cacheprovider", "-p", "conftest"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, str(tmp_path)],
        env={"PYTHONPATH": f"{ROOT / 'tests'}:{':'.join(sys.path)}", "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *_, said, end = done.stdout.splitlines()
    assert said == (
        "skipped: 3 no CUDA device; 2 no_such_library is not installed; 1 there is no C++ compiler"
    )
    assert end.startswith("1 passed, 6 skipped")
