"""Every command but embed: what it prints, what it refuses, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gemwire_server import __version__, cli
from gemwire_server.cli import machine, make_checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import CheckpointError
from support.calling import command, gemwire, one_line
from uninstalled import environment

ALL = ("serve", "embed", "tokenize", "info", "make-checkpoint", "verify", "tune", "token")


def run(*arguments: str) -> int:
    """The exit code in this process; argparse's too."""
    try:
        return cli.main(arguments)
    except SystemExit as error:
        assert isinstance(error.code, int)
        return error.code


@pytest.fixture(autouse=True)
def _no_options_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in os.environ:
        if key.startswith("GEMWIRE_"):
            monkeypatch.delenv(key)


# main


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys; from gemwire_server.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'grpc', 'google.protobuf', 'numpy', 'pyarrow', 'rich', 'gemwire_client'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[]\n")
    assert all(name in done.stdout for name in ALL)
    assert gemwire("--version").stdout == f"gemwire {__version__}\n"


@pytest.mark.parametrize("name", ALL)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    assert f"gemwire {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["serve", "--no-such-flag"],
        ["serve", "--max-queue", "9"],  # no abbreviations: a new flag would change what they mean
        ["serve", "--model", "m", "--threads", "many"],
        ["serve", "--model", ""],
        ["embed", "a.txt"],
        ["embed", "a.txt", "-o", "b.npy", "--task", "nonsense"],
        ["embed", "a.txt", "-o", "b.npy", "--server", "h:1", "--dimensions", "0"],
        ["embed", "a.txt", "-o", "b.npy", "--server", "h:1", "--model", "m"],
        [
            "embed",
            "a.txt",
            "-o",
            "b.npy",
            "--server",
            "h:1",
            "--task",
            "clustering",
            "--prompt",
            "x",
        ],
        ["embed", "a.txt", "-o", "b.npy", "--title-column", "t", "--task", "clustering"],
        ["tokenize"],
        ["info", "--server", "h:1", "--model", "m"],
    ],
)
def test_wrong_calls_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and "gemwire" in said.err and "Traceback" not in said.err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CheckpointError("no\n  weights"), 1, "no weights"),
        (ValueError("line 3: bad"), 1, "line 3: bad"),
        (FileNotFoundError(2, "No such file or directory", "x.txt"), 1, "x.txt: No such file"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 1, "gemwire[server]"),
        (ModuleNotFoundError("", name="pyarrow.parquet"), 1, "pip install 'gemwire[cli]'"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_one_line_and_a_code(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(cli.info, "run", fail)
    assert run("info") == code
    err = capsys.readouterr().err
    assert said in one_line(err) if said else err == ""


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), ModuleNotFoundError("", name="gemwire_x")]
)
def test_bugs_keep_their_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(cli.info, "run", fail)
    with pytest.raises(type(error)):
        cli.main(["info"])


def test_a_reader_that_has_seen_enough_gets_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            command("info"),
            env=environment(),
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "")


WITHOUT = (
    "import sys; from gemwire_server.cli import main\n"
    "sys.modules.update(dict.fromkeys({missing!r}))\n"  # None: an import of it fails
    "sys.exit(main({arguments!r}))"
)


@pytest.mark.parametrize(
    ("missing", "arguments", "said"),
    [
        (
            "torch",
            ["serve", "--model", "m"],
            "torch, which is not installed: pip install 'gemwire[server]'",
        ),
        (
            "pyarrow",
            ["embed", "{folder}/a.parquet", "-o", "-", "--server", "h:1"],
            "'gemwire[cli]'",
        ),
        (
            "pyarrow",
            ["embed", "{folder}/a.txt.zst", "-o", "-", "--server", "h:1"],
            "'gemwire[cli]'",
        ),
        ("sentencepiece", ["tokenize", "a", "--model", "{model}"], "'gemwire[server]'"),
        (
            "hdrh",
            ["bench", "--server", "h:1"],
            "hdrh, which is not installed: pip install 'gemwire[bench]'",
        ),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    missing: str, arguments: list[str], said: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.parquet").touch()
    (tmp_path / "a.txt.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    given = [part.format(model=tiny_checkpoint, folder=tmp_path) for part in arguments]
    code = WITHOUT.format(missing=[missing], arguments=given)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and said in one_line(done.stderr)


def test_a_base_install_asks_a_server(server: str, tmp_path: Path) -> None:
    missing = ["torch", "rich", "pyarrow", "sentencepiece", "grpc_health", "safetensors"]
    (tmp_path / "in.txt").write_text("a\n")
    for arguments in (
        ["info", "--server", server],
        ["tokenize", "a", "--server", server],
        ["embed", str(tmp_path / "in.txt"), "-o", str(tmp_path / "out.npy"), "--server", server],
    ):
        code = WITHOUT.format(missing=missing, arguments=arguments)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


# info


def test_info_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["gemwire"] == __version__
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["threads_allowed"] == len(os.sched_getaffinity(0))
    assert run("info") == 0
    assert f"gemwire          {__version__}\n" in capsys.readouterr().out


def test_cpu_facts_of_other_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = (
        "processor: {0}\nmodel name : Chip\nphysical id: 0\ncore id: {1}\nflags : avx2 amx_bf16 x"
    )
    intel = "\n\n".join(core.format(thread, thread // 2) for thread in range(4)) + "\n"
    (tmp_path / "intel").write_text(intel)
    (tmp_path / "arm").write_text("processor : 0\nFeatures : fp asimd sve bf16\n")
    (tmp_path / "quota").write_text("150000 100000\n")
    monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "quota")
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "intel")
    facts = machine.facts()
    assert (facts["cpu"], facts["cores"], facts["cpu_quota"]) == ("Chip", 2, 1.5)
    assert facts["cpu_features"] == ["avx2", "amx_bf16"]
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "arm")
    assert machine.facts()["cpu_features"] == ["asimd", "sve", "bf16"]
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "absent")
    monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "absent")
    assert machine.facts()["cores"] is None and machine.facts()["cpu_quota"] is None


def test_gpus_as_the_driver_lists_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "NVIDIA", tmp_path)
    assert machine.facts()["gpus"] == []
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / bus).mkdir()
        (tmp_path / bus / "information").write_text(f"Model: \t NVIDIA H100\nBus Location: {bus}\n")
    assert machine.facts()["gpus"] == ["NVIDIA H100", "NVIDIA H100"]


def test_info_of_a_checkpoint(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "--model", str(tiny_checkpoint), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["dimensions"][0] == max(facts["dimensions"])
    assert facts["prompts"]["query"] == "task: search result | query: "
    assert run("info", "--model", str(tiny_checkpoint)) == 0
    # The space at a prompt's end counts, so that it is quoted.
    assert re.search(r"\n  query +'task: search result \| query: '\n", capsys.readouterr().out)


def test_info_of_a_server(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "--server", server, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["name"] == "models/tiny"
    assert facts["limits"]["max_inputs_per_request"] == 1024
    assert facts["server_version"] == __version__
    assert run("info", "--server", server) == 0
    assert "models/tiny" in capsys.readouterr().out


def test_a_server_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "--server", f"unix:{tmp_path}/none.sock") == 1
    one_line(capsys.readouterr().err)


# tokenize


def test_tokenize_is_the_same_by_server_and_by_checkpoint(
    server: str, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for where in (["--server", server], ["--model", str(tiny_checkpoint)]):
        for prompt in (
            [],
            ["--task", "clustering"],
            ["--prompt-name", "query"],
            ["--prompt", "Q: "],
        ):
            assert run("tokenize", "hello world", "日本語 🎉", *where, *prompt) == 0
            printed.append(capsys.readouterr().out)
    assert printed[:4] == printed[4:] and len(set(printed)) == 4
    lines = [json.loads(line) for line in printed[0].splitlines()]
    assert len(lines) == 2
    assert all(len(line["ids"]) == len(line["pieces"]) for line in lines)
    assert lines[0]["pieces"][0] == "<bos>" and lines[0]["over_limit"] is False


def test_tokenize_says_when_a_text_is_over_the_window(
    server: str, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for where in (["--server", server], ["--model", str(tiny_checkpoint)]):
        assert run("tokenize", "word " * 3000, *where) == 0
        line = json.loads(capsys.readouterr().out)
        assert line["over_limit"] is True and len(line["ids"]) > 2048


def test_tokenize_reads_lines_and_names_the_bad_one(tiny_checkpoint: Path) -> None:
    done = gemwire("tokenize", "-", "--model", str(tiny_checkpoint), input="one\ntwo é\n\nlast\n")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    assert one_line(done.stderr).startswith("line 3: ")


# make-checkpoint


def test_make_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "new"
    assert run("make-checkpoint", "--geometry", "tiny", "--seed", "3", str(directory)) == 0
    said = capsys.readouterr().out
    assert str(directory) in said and "random" in said and "seed 3" in said
    assert (directory / "modules.json").exists()
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert run("make-checkpoint", "--geometry", "tiny", str(directory)) == 1
    assert "there already" in one_line(capsys.readouterr().err)
    assert before == {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "arguments", [["--seed", "-1"], ["--tokenizer", "absent.model"], ["--dtype", "float16"]]
)
def test_make_checkpoint_refuses(arguments: list[str], tmp_path: Path) -> None:
    assert run("make-checkpoint", "--geometry", "tiny", *arguments, str(tmp_path / "new")) in (1, 2)
    assert not (tmp_path / "new").exists()


def test_geometries_are_those_that_can_be_made() -> None:
    from gemwire_server.checkpoints.synthetic import GEOMETRIES

    assert tuple(GEOMETRIES) == make_checkpoint.GEOMETRIES


# serve and verify


def test_serve_until_sigterm(tiny_checkpoint: Path) -> None:
    arguments = ("serve", "--model", str(tiny_checkpoint), "--address", "127.0.0.1:0")
    with subprocess.Popen(
        command(*arguments), env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            banner = process.stdout.readline()
            address = re.search(r"127\.0\.0\.1:[1-9]\d*", banner)
            assert address is not None, banner
            done = gemwire("info", "--server", address[0], "--json")
            assert json.loads(done.stdout)["name"] == "models/tiny"
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_serve_refuses_before_it_loads(tmp_path: Path) -> None:
    started = time.monotonic()
    done = gemwire("serve", "--model", "m", environ={"GEMWIRE_MAX_QUEUE_TOKENS": "lots"})
    assert done.returncode == 2 and time.monotonic() - started < 1.5
    assert one_line(done.stderr) == (
        "environment variable GEMWIRE_MAX_QUEUE_TOKENS is 'lots': must be a whole number"
    )
    done = gemwire("serve", "--model", str(tmp_path))
    assert done.returncode == 1 and "modules.json" in one_line(done.stderr)


def test_verify_hands_over_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gemwire_server import verify

    texts = tmp_path / "texts.txt"
    texts.write_text("a\n")
    called: list[tuple[object, ...]] = []

    def fake(*arguments: object) -> int:
        called.append(arguments)
        return 1

    monkeypatch.setattr(verify, "run", fake)
    flags = ["--texts", str(texts), "--against", "bf16", "--dtype", "float32"]
    assert run("verify", "--model", "m", *flags) == 1
    assert run("verify", "--model", "m", "--revision", "r1") == 1
    assert called == [
        (ServerConfig(model="m", dtype="float32"), texts, "bf16"),
        (ServerConfig(model="m", revision="r1"), None, "fp32"),
    ]
    assert run("verify", "--model", "m", "--texts", str(tmp_path / "absent")) == 2
    assert len(called) == 2


# tune


@pytest.mark.parametrize(
    "arguments", [["--device", "cpu"], ["--seconds", "0"], ["--seconds", "x"], ["--dtype", "fp8"]]
)
def test_tune_refuses(arguments: list[str]) -> None:
    assert run("tune", *arguments) == 2


def test_tune_without_a_gpu_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run("tune", "--output", str(tmp_path / "new" / "tiles.json")) == 1
    assert "no CUDA device" in one_line(capsys.readouterr().err)
    assert not (tmp_path / "new").exists()


def test_tune_writes_to_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gemwire_server.cli.tune import default_output

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_output() == tmp_path / "gemwire" / "tiles.json"
