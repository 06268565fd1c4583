"""The page of the docs that is generated from the options."""

import subprocess
import sys
from dataclasses import fields
from itertools import groupby

from gemwire_server.config.options import ServerConfig
from gemwire_server.config.page import page
from uninstalled import ROOT

PAGE = ROOT / "docs" / "configuration.md"


def test_the_committed_page_is_fresh() -> None:
    command = [sys.executable, "-m", "gemwire_server.config.page"]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert PAGE.read_text("utf-8") == made, "run `make docs`, and commit what it writes"


def test_every_option_has_a_row_with_its_three_names() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `--")]
    for option, row in zip(fields(ServerConfig), rows, strict=True):
        dashed = option.name.replace("_", "-")
        assert row.startswith(
            f"| `--{dashed}`<br>`GEMWIRE_{option.name.upper()}`<br>`{option.name}` |"
        )
        assert option.metadata["help"].replace("|", "\\|") in row
        assert row.replace("\\|", "").count("|") == 5


def test_a_group_stands_on_the_page_once() -> None:
    names = [name for name, _ in groupby(fields(ServerConfig), lambda o: o.metadata["group"])]
    assert len(set(names)) == len(names)
    assert [line[3:] for line in page().splitlines() if line.startswith("## ")] == names


def test_values_show_their_kind_and_range() -> None:
    found = {
        line.split("`")[1]: line.split(" | ")[1:3] for line in page().splitlines() if "<br>" in line
    }
    assert found["--max-metadata-bytes"] == [
        "`BYTES`: a whole number from 1024 to 1048576",
        "`16384`",
    ]
    assert found["--call-seconds"] == ["`SECONDS`: a number from 0 to 86400", "`300.0`"]
    assert found["--dtype"] == ["`auto`, `bfloat16`, `float32`", '`"auto"`']
    assert found["--reflection"] == ["true or false", "`true`"]
    assert found["--tls-cert"] == ["`FILE`", '`""`']
