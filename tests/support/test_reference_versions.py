"""The sets of reference libraries have the versions that they list."""

from pathlib import Path

import pytest

from support.reference_versions import PARAMETERS, Reference

SCRIPT = """
from importlib.metadata import version
from importlib.util import find_spec

for name in ("sentence-transformers", "transformers", "tokenizers", "huggingface-hub"):
    print(name, version(name), find_spec(name.replace("-", "_")).origin)
"""


@pytest.mark.parametrize("reference", PARAMETERS)
def test_a_process_gets_the_versions_of_its_set(reference: Reference, tmp_path: Path) -> None:
    (tmp_path / "versions.py").write_text(SCRIPT)
    for line in reference.run(tmp_path / "versions.py").splitlines():
        name, version, origin = line.split()
        assert version == reference.pins.get(name, version)
        assert reference.folder is None or Path(origin).is_relative_to(reference.folder)


def test_a_script_that_fails_is_reported(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text("raise SystemExit('no such thing')")
    with pytest.raises(AssertionError, match="no such thing"):
        Reference("venv", {}, None).run(tmp_path / "fails.py")
