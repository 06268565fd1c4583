"""Packages by the registries' own clients."""

import subprocess
from pathlib import Path

import pytest

from gemwire_training.fetch import FetchError, passages
from gemwire_training.sources import TRAINING, Source

FAQ = next(source for source in TRAINING if source.package == "debian-faq")


def apt(*command: str) -> str:
    """The output of an apt command. Skips the test where apt or its package lists are missing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("apt is not installed")
    if done.returncode or not done.stdout:
        pytest.skip("apt has no package lists")
    return done.stdout


def test_a_package_is_fetched_once_and_read(tmp_path: Path) -> None:
    apt("apt-get", "--print-uris", "download", FAQ.package)
    found = passages(FAQ, tmp_path)
    assert "operating system" in next(
        text for title, text in found if title.startswith("What is Debian")
    )
    before = sorted(tmp_path.rglob("*"))
    assert passages(FAQ, tmp_path) == found
    assert sorted(tmp_path.rglob("*")) == before


def test_what_cannot_be_fetched_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    apt("apt-get", "--version")
    with pytest.raises(FetchError, match=r"no-such-package-here.*apt-get update"):
        passages(
            Source(package="no-such-package-here", licence="", reader="html", files="*"), tmp_path
        )
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_a_missing_client_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    source = Source(package="@a/b", licence="", reader="prose", files="*", registry="npm")
    with pytest.raises(FetchError, match="npm is not installed"):
        passages(source, tmp_path / "packages")
