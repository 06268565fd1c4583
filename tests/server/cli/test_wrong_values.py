"""Every option of every command with wrong values of its kind: one clear line, and nothing half done.

The options are those that the parsers themselves have: one that is not in the tables below fails.
"""

import argparse
import json
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from gemwire_bench import result
from gemwire_server import cli
from gemwire_server.config.options import ServerConfig
from support.calling import gemwire

# A path of one of the files that `folder` makes: IN.jsonl, GARBAGE.bin, FOLDER.
UNREADABLE = "/proc/self/mem"  # opens, and no process can read a byte of it
NOT_UTF8 = "a\udcffb"
WHOLE = ["x", "", "1.5", "-1", "nan", "9" * 30, "9" * 5000]
POSITIVE = [*WHOLE, "0"]
NUMBER = ["x", "", "-1", "nan", "inf", "-inf", "1e400", "1e300"]
ABOVE_ZERO = [*NUMBER, "0"]
CHOICE = ["x", "", NOT_UTF8]
NAME = ["", NOT_UTF8]
INPUT = ["", "/nowhere/x", "FOLDER", "s3://bucket/x", "https://host/x", NOT_UTF8]
READ = [*INPUT, UNREADABLE, "GARBAGE.bin"]
OUTPUT = ["", "/nowhere/x", "FOLDER", "FOLDER/", "IN.jsonl/x", "gs://bucket/x", "/proc/x", NOT_UTF8]
SERVER = [
    "", "x", "localhost", "http://localhost:1", "https://host", "host:x", "host:0", "host:99999",
    "host:-1", "[::1", "::1:5", "a b:1", "unix:", "unix:relative", "unix:/nowhere.sock", NOT_UTF8,
]  # fmt: skip

# For each server option, what it does not take as text; `serve` gets all, other commands the first.
ADDRESS = ["x", ":1", "host:x", "host:99999", "host:-1", "http://host:1", "unix:x", NOT_UTF8]
FILE = [NOT_UTF8, "/nowhere/x", "FOLDER", UNREADABLE, "GARBAGE.bin"]
SERVER_OPTIONS: dict[str, list[str]] = {
    "config": ["", "/nowhere/x", "FOLDER", UNREADABLE, "GARBAGE.bin"],
    "model": ["", NOT_UTF8],
    "revision": [NOT_UTF8],
    "address": ["", *ADDRESS, "192.0.2.1:0", "a" * 70 + ".invalid:1"],
    "admin_address": [*ADDRESS, "192.0.2.1:0", "a" * 70 + ".invalid:1"],
    "http_address": [*ADDRESS, "unix:/x"],
    "metrics_address": [*ADDRESS, "unix:/x"],
    "tls_cert": FILE,
    "tls_key": FILE,
    "tls_client_ca": FILE,
    "tokens_file": FILE,
    "dtype": [*CHOICE, "float16"],
    "device": [*CHOICE, "cuda:x", "cuda:-1"],
    "devices": ["x", "0,", "-1", "0 1"],
    "engine": CHOICE,
    "fronts": [*POSITIVE, "100000"],
    "watchdog_seconds": ABOVE_ZERO,
    "weights": CHOICE,
    "threads": [*WHOLE, "100000"],
    "max_batch_tokens": WHOLE,
    "cuda_graphs": ["=x"],
    "residual": CHOICE,
    "deterministic": ["=x"],
    "sliding_window": WHOLE,
    "tile_table": [NOT_UTF8],  # files in their own test: a model is loaded first
    "max_queue_tokens": POSITIVE,
    "max_inputs_per_request": POSITIVE,
    "max_request_bytes": POSITIVE,
    "max_response_bytes": POSITIVE,
    "max_stream_inflight_inputs": POSITIVE,
    "max_concurrent_calls": POSITIVE,
    "call_seconds": NUMBER,
    "max_streams_per_connection": POSITIVE,
    "max_metadata_bytes": POSITIVE,
    "max_connection_age": NUMBER,
    "tokenizer_threads": WHOLE,
    "default_task": ["x", NOT_UTF8],
    "drain_seconds": NUMBER,
    "liveness_seconds": ABOVE_ZERO,
    "log_level": CHOICE,
    "log_format": CHOICE,
    "traces": CHOICE,
    "http_token_ids": ["=x"],
    "reflection": ["=x"],
}
# What goes with an option, so that it is the only thing that is wrong.
COMPANIONS = {
    "tls_cert": ["--tls-key=GARBAGE.bin"],
    "tls_key": ["--tls-cert=GARBAGE.bin"],
    "tls_client_ca": ["--tls-cert=CERT.pem", "--tls-key=KEY.pem"],
}
REMOTE = {
    "--tls": ["=x"],
    "--tls-ca": READ,
    "--tls-cert": READ,
    "--tls-key": READ,
    "--token-file": READ,
}
PROMPT = {"--task": CHOICE, "--prompt-name": [NOT_UTF8, ""], "--prompt": [NOT_UTF8]}
OPTIONS: dict[str, dict[str, list[str]]] = {
    "": {"--version": ["=x"]},
    "serve": {},
    "embed": {
        "input": [*INPUT, UNREADABLE, "GARBAGE.bin", "NAMELESS"],
        "-o": [*OUTPUT, "/proc/x.npy", "out.csv", "out.npy.gz", "out.gz"],
        "--format": [*CHOICE, "parquet"],
        "--text-column": [*NAME, "absent"],
        "--title-column": NAME,
        "--dimensions": [*POSITIVE, "5"],
        "--truncation": CHOICE,
        "--on-error": CHOICE,
        "--server": SERVER,
        **REMOTE,
        **PROMPT,
    },
    "tokenize": {"texts": [NOT_UTF8], "--server": SERVER, **REMOTE, **PROMPT},
    "info": {"--server": SERVER, "--json": ["=x"], **REMOTE},
    "bench": {
        "--server": [value for value in SERVER if value != "unix:/nowhere.sock"],  # waited for 30 s
        "--in-process": ["=x"],
        "--rate": ABOVE_ZERO,
        "--sweep": ["=x"],
        "--callers": WHOLE,
        "--growth": [*ABOVE_ZERO, "1"],
        "--bisections": WHOLE,
        "--seconds": [*ABOVE_ZERO, "1e-9"],
        "--warm-up": NUMBER,
        "--seed": WHOLE,
        "--workers": [*POSITIVE, "100000"],
        "--connections": [*POSITIVE, "100000"],
        "--slo": ["x", "", "p99", "p0=1ms", "p100=1ms", "p99=fast", "p99=1h", "p99=nanms", "no:p9=1s"],
        "--mode": CHOICE,
        "--arrivals": [
            "x", "", "gamma:x", "gamma:nan", "gamma:inf", "gamma:0", "gamma:1e300", "gamma:-1",
            "bursts:1", "bursts:nan:1", "bursts:1:inf", "bursts:1e-300:1", "bursts:0:1", "ramp:0:0",
            "ramp:nan:1", "ramp:1:inf", "ramp:-1:1", "trace:/nowhere/x", "trace:FOLDER", "trace:",
            "trace:GARBAGE.bin", f"trace:{UNREADABLE}", "trace:BAD.trace",
        ],
        "--tokens": [
            "x", "", "0", "-1", "1.5", "nan", "9" * 30, "uniform:5:1", "uniform:0:5", "uniform:1",
            "lognormal:nan:1", "lognormal:1:inf", "lognormal:0:1", "nan*64", "-1*64", "x*64", "1e999*64",
            "file:", "file:/nowhere/x", "file:FOLDER", "file:GARBAGE.bin", f"file:{UNREADABLE}",
        ],
        "--texts": ["x", "", "0", "-1", "1.5", "nan", "2"],
        "--task": CHOICE,
        "--deadline": [*ABOVE_ZERO, "61"],
        "--corpus": READ,
        "--lines": [*READ, "EMPTY.txt"],
        "--class": [
            "", " ", "a b", "a b=c", "a share=x", "a share=nan", "a share=inf", "a share=0", "a task=x",
            "a mode=x", "a deadline=nan", "a deadline=99", "a priority=99", "a priority=1.5", "a tokens=0",
            "a mode=batch texts=0", "a arrivals=x", "a lines=/nowhere/x",
        ],
        "-o": OUTPUT,
        "--html": OUTPUT,
        "--png": OUTPUT,
        "--label": [NOT_UTF8],
        "--golden": [*READ, "IN.jsonl"],
        "--write-golden": OUTPUT,
        **REMOTE,
    },
    "bench compare": {"before": [*READ, "PART.json"], "after": [*READ, "PART.json"]},
    "bench report": {"results": [*READ, "PART.json"], "--html": OUTPUT, "--png": OUTPUT},
    "make-checkpoint": {
        "directory": ["", "IN.jsonl", "IN.jsonl/x", "FULL", "s3://bucket/x", NOT_UTF8],
        "--geometry": CHOICE,
        "--seed": WHOLE,
        "--tokenizer": [*READ, "EMPTY.txt"],
        "--dtype": CHOICE,
    },
    "verify": {"--texts": [*READ, "EMPTY.txt"], "--against": CHOICE},
    "tune": {
        "--model": NAME,
        "--sliding-window": WHOLE,
        "--device": [*CHOICE, "cpu", "cuda:x", "cuda:99999"],
        "--dtype": CHOICE,
        "--seconds": [*ABOVE_ZERO, "100000"],
        # What its own check leaves to the start, for it may have to make the folder.
        "--output": [value for value in OUTPUT if value[:5] not in ("/nowh", "/proc")],
    },
    "token": {
        "name": ["", "a b", "a:b", "é", "-", "a" * 65, NOT_UTF8],
        "--rate": POSITIVE,
        "--burst": POSITIVE,
    },
}  # fmt: skip
# The rest of a call that is right but for the option; SERVER stands for a server's address.
BASES: dict[str, list[str]] = {
    "": [],
    "serve": ["--model=/nowhere/model", "--address=127.0.0.1:0"],
    "embed": ["IN.jsonl", "-o=OUT.npy", "--server=SERVER"],
    "tokenize": ["a", "--server=SERVER"],
    "info": ["--server=SERVER"],
    "bench": ["--server=SERVER", "--seconds=0.5", "--warm-up=0", "--rate=40", "--tokens=8"],
    "bench compare": ["RESULT.json", "RESULT.json"],
    "bench report": ["RESULT.json"],
    "make-checkpoint": ["NEW", "--geometry=tiny"],
    "verify": ["--model=/nowhere/model"],
    "tune": [],
    "token": ["name"],
}
# What an option needs beside it, and positional arguments that are replaced.
NEEDS = {
    "bench --growth": ["--sweep"],
    "bench --bisections": ["--sweep"],
    "token --burst": ["--rate=5"],
    "bench report results": ["--html=OUT.html"],
    "embed --format": [],
}
for _command in ("embed", "tokenize", "info", "bench"):
    NEEDS[f"{_command} --tls-cert"] = ["--tls-key=KEY.pem"]
    NEEDS[f"{_command} --tls-key"] = ["--tls-cert=CERT.pem"]


def parsers(
    parser: argparse.ArgumentParser, command: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield command, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from parsers(inner, f"{command} {name}".strip())


def own_name(action: argparse.Action) -> str:
    return action.option_strings[0] if action.option_strings else action.dest


SERVER_NAMES = {option.name for option in fields(ServerConfig)} | {"config"}
FOUND = {
    command: [
        action
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    ]
    for command, parser in parsers(cli.make_parser())
}


def is_server_option(action: argparse.Action) -> bool:
    return action.dest in SERVER_NAMES and action.default is argparse.SUPPRESS


def test_every_option_has_wrong_values() -> None:
    """A new option goes into the table, and one that is gone out of it."""
    assert set(OPTIONS) == set(FOUND) == set(BASES)
    for command, actions in FOUND.items():
        own = {own_name(action) for action in actions if not is_server_option(action)}
        assert own == set(OPTIONS[command]), command
    assert set(SERVER_OPTIONS) == SERVER_NAMES
    assert all(values for table in OPTIONS.values() for values in table.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are right, and wrong in a way of their own."""
    from support.certificates import Authority

    made = tmp_path_factory.mktemp("wrong")
    (made / "IN.jsonl").write_text('{"text": "a"}\n')
    (made / "NAMELESS").write_text("a\n")
    (made / "EMPTY.txt").touch()
    (made / "GARBAGE.bin").write_bytes(bytes(range(128, 256)) * 20)
    (made / "PART.json").write_text('{"schema": "gemwire-bench/1", "steps": [{}]}')
    step: dict[str, list[str]] = {key: [] for key in result.STEP_KEYS}
    whole: dict[str, object] = {key: [] for key in result.RESULT_KEYS}
    whole |= {"schema": result.SCHEMA, "steps": [step]}
    (made / "RESULT.json").write_text(json.dumps(whole))
    (made / "BAD.trace").write_text("[]\n")
    (made / "FOLDER").mkdir()
    (made / "FULL").mkdir()
    (made / "FULL" / "file").touch()
    Authority().pair().write(made / "CERT.pem", made / "KEY.pem")
    return made


@pytest.fixture(autouse=True)
def _alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for key in os.environ:
        if key.startswith("GEMWIRE_"):
            monkeypatch.delenv(key)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(
    arguments: list[str], capfd: pytest.CaptureFixture[str], folder: Path, *, named: list[str]
) -> str:
    """What a wrong call says, in one or two lines that name one of `named`; it must leave no file."""
    before = contents(folder)
    try:
        code = cli.main(arguments)
    except SystemExit as error:
        assert isinstance(error.code, int)
        code = error.code
    out, said = capfd.readouterr()
    assert code in (1, 2), (arguments, code, out)
    assert out == "", arguments
    assert said.startswith("gemwire: ") and 1 <= said.count("\n") <= 2 and len(said) < 1000, said
    assert "Traceback" not in said and not re.search(r"\b\w+(Error|Exception)\b", said), said
    assert any(name in said for name in named if name), (arguments, said)
    assert contents(folder) == before, arguments
    return said


def cases() -> Iterator[tuple[str, str, list[str]]]:
    for command, table in OPTIONS.items():
        for name, values in table.items():
            yield command, name, values


def call(command: str, name: str, value: str) -> list[str]:
    """The command's words with the option as it is given last; a positional takes the place of its own."""
    base = list(BASES[command])
    wrong = [value] if not name.startswith("-") else [f"{name}={value.removeprefix('=')}"]
    if not name.startswith("-"):
        at = {"after": 1}.get(name, 0)
        base[at : at + 1] = wrong
        wrong = []
    return [*command.split(), *base, *NEEDS.get(f"{command} {name}", []), *wrong]


@pytest.mark.parametrize(
    ("command", "name", "values"), list(cases()), ids=lambda one: str(one)[:40]
)
def test_wrong_values(
    command: str,
    name: str,
    values: list[str],
    server: str,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for value in values:
        words = [word.replace("=SERVER", f"={server}") for word in call(command, name, value)]
        metavar = next(a.metavar for a in FOUND[command] if own_name(a) == name) or name
        shown = (
            value.removeprefix("=").rpartition(":")[2]
            if name in ("--arrivals", "--tokens")
            else value
        )
        refused(words, capfd, folder, named=[name, str(metavar), shown])


@pytest.mark.parametrize("name", SERVER_OPTIONS)
def test_wrong_values_of_server_options(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a flag of each command that has it, and as a variable."""
    flag = "--" + name.replace("_", "-")
    base = ["serve", *BASES["serve"], *COMPANIONS.get(name, [])]
    for value in SERVER_OPTIONS[name]:
        wrong = f"{flag}={value.removeprefix('=')}"
        refused([*base, wrong], capfd, folder, named=[flag, name, value])
    first = SERVER_OPTIONS[name][0]
    for command, actions in FOUND.items():
        if command != "serve" and any(is_server_option(a) and a.dest == name for a in actions):
            words = [word for word in BASES[command] if not word.startswith("--server=")]
            words += ["--in-process"] * (command == "bench") + COMPANIONS.get(name, [])
            wrong = f"{flag}={first.removeprefix('=')}"
            refused([*command.split(), *words, wrong], capfd, folder, named=[flag, first])
    for value in SERVER_OPTIONS[name]:
        if value and name != "config":
            variable = f"GEMWIRE_{name.upper()}"
            monkeypatch.setenv(variable, value.removeprefix("="))
            words = [word for word in base if not word.startswith(f"{flag}=")]
            refused(words, capfd, folder, named=[variable, name, value])
            monkeypatch.delenv(variable)


WRONG_TOML = {
    str: ["5", "true", '["a"]', r'"a\u0000b"', "1979-05-27", "{}"],
    int: ['"4"', "1.5", "true", "nan", "-99", "9" * 30, "[]"],
    float: ['"4"', "true", "nan", "inf", "-99.0", "9" * 400],
    bool: ['"true"', "1", "0.0"],
}


@pytest.mark.parametrize("option", fields(ServerConfig), ids=lambda option: option.name)
def test_wrong_values_in_the_config_file(
    option: "object", folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name, kind = option.name, option.type  # type: ignore[attr-defined]
    path = tmp_path / "gemwire.toml"
    for value in WRONG_TOML[kind]:
        path.write_text(f"{name} = {value}\n")
        said = refused(["serve", f"--config={path}"], capfd, folder, named=[name])
        assert str(path) in said


@pytest.mark.parametrize(
    "text",
    [
        "[server]\nmodel = 'm'",
        "threads = " + "9" * 5000,
        "a = " + "[" * 5000,
        "threads =",
        "no_such = 1",
    ],
)
def test_config_files_that_are_wrong_as_a_whole(
    text: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gemwire.toml"
    path.write_text(text)
    refused(["serve", f"--config={path}"], capfd, folder, named=[str(path)])


@pytest.mark.parametrize("table", ["/nowhere/x", "FOLDER", UNREADABLE, "GARBAGE.bin", "IN.jsonl"])
def test_a_tile_table_that_cannot_be_read_is_refused_without_a_gpu_too(
    table: str, tiny_checkpoint: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [
        "embed",
        "IN.jsonl",
        "-o=OUT.npy",
        f"--model={tiny_checkpoint}",
        f"--tile-table={table}",
    ]
    refused(words, capfd, folder, named=["tile_table"])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("embed IN.jsonl", "-o"),
        ("embed -o OUT.npy", "INPUT"),
        ("embed IN.jsonl -o OUT.npy extra", "extra"),
        ("embed IN.jsonl -o OUT.npy --server h:1 --model m", "--model"),
        ("embed IN.jsonl -o OUT.npy --server h:1 --config f", "--config"),
        ("embed IN.jsonl -o OUT.npy --tls", "--server"),
        ("embed IN.jsonl -o OUT.npy --server h:1 --tls-cert CERT.pem", "--tls-key"),
        ("embed IN.jsonl -o OUT.npy --server h:1 --task clustering --prompt p", "--prompt"),
        ("embed IN.jsonl -o OUT.npy --server h:1 --title-column t --prompt p", "--title-column"),
        (
            "embed IN.jsonl -o OUT.npy --server h:1 --tls-cert CERT.pem --tls-key CERT.pem",
            "CERT.pem",
        ),
        ("embed NAMELESS -o OUT.npy --format lines --text-column t", "--format jsonl"),
        ("embed - -o OUT.npy --format parquet", "pipe"),
        ("info --server h:1 --revision r", "--revision"),
        ("info --revision r", "revision"),
        ("info --config FOLDER", "FOLDER"),
        ("bench", "--server"),
        ("bench --server h:1 --in-process", "--in-process"),
        ("bench --server h:1 --sweep --callers 3", "--callers"),
        ("bench --in-process --tls-ca CERT.pem", "--tls-ca"),
        ("bench --in-process --tls-cert CERT.pem --tls-key KEY.pem", "--tls-cert"),
        ("bench --in-process --lines NAMELESS", "--lines"),
        ("bench --in-process --write-golden x", "--write-golden"),
        ("bench --in-process --workers 2", "--workers"),
        ("bench --server h:1 --output x --html x", "file of its own"),
        ("bench --server h:1 --write-golden x --html y", "--write-golden"),
        ("bench --server h:1 --class a --class a", "--class"),
        ("bench report RESULT.json", "--html"),
        ("bench compare RESULT.json", "after"),
        ("make-checkpoint new", "--geometry"),
        ("token a --burst 5", "--rate"),
        ("serve --tls-cert CERT.pem", "--tls-key"),
        ("serve --tls-client-ca CERT.pem", "--tls-cert"),
        ("serve --address 127.0.0.1:9 --admin-address 127.0.0.1:9", "--admin-address"),
        ("serve --device cuda --weights int8", "--weights"),
        ("serve --engine thread --fronts 2", "--fronts"),
        ("serve --model m --threads", "--threads"),
        ("no-such-command", "no-such-command"),
    ],
)
def test_options_that_do_not_go_together(
    words: str, named: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refused(words.split(), capfd, folder, named=[named])


@pytest.mark.parametrize("engine", ["process", "thread"])
@pytest.mark.parametrize("flag", ["--address", "--admin-address", "--metrics-address"])
def test_a_port_in_use(flag: str, engine: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = gemwire("serve", *BASES["serve"], f"--engine={engine}", f"{flag}={address}")
    assert (done.returncode, done.stdout) == (1, "")
    *before, last = done.stderr.splitlines()
    assert last.startswith(f"gemwire: cannot listen on {address}")
    # Where gRPC takes the port itself, it says something too.
    assert before == [] or (engine == "thread" and len(before) == 1)


def test_of_two_the_last_counts(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["token", "a", "--rate", "1", "--rate", "2"]) == 0
    assert capfd.readouterr().out.rstrip().endswith(":2")
