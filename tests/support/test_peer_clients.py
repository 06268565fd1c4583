"""A script of a client uses the packages of its set and no others."""

from pathlib import Path

import pytest

from support import peer_clients

SCRIPT = """
import json, sys
from importlib.util import find_spec

names = json.loads(sys.argv[1])
print(json.dumps({name: getattr(find_spec(name), "origin", None) for name in names}))
"""


@pytest.mark.parametrize("name", [peer_clients.parameter(name) for name in peer_clients.sets()])
def test_a_script_gets_the_packages_of_its_set(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "origins.py").write_text(SCRIPT)
    monkeypatch.setattr(peer_clients, "SCRIPTS", tmp_path)
    given = {name: None for name in ("openai", "torch", "gemwire_server", "gemwire_client")}
    found = peer_clients.run(name, "origins", given)
    assert Path(found.pop("openai")).is_relative_to(peer_clients.FOLDER / name)
    assert set(found.values()) == {None}


def test_a_script_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fails.py").write_text("raise SystemExit('no such thing')")
    monkeypatch.setattr(peer_clients, "SCRIPTS", tmp_path)
    with pytest.raises(AssertionError, match="no such thing"):
        peer_clients.run("any", "fails", {})
