"""Options from flags, environment, file and defaults, and what is refused."""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from gemwire_server.config.options import ServerConfig, add_flags
from gemwire_server.config.sources import ConfigError


def load(*flags: str, environ: Mapping[str, str] | None = None) -> ServerConfig:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser)
    return ServerConfig.load(parser.parse_args(flags), environ or {})


def refusal(*flags: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*flags, environ=environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gemwire.toml"
    path.write_text('model = "from-file"\nthreads = 3\ndrain_seconds = 5\nreflection = false\n')
    return path


def test_defaults() -> None:
    config = load("--model", "m")
    assert config == ServerConfig(model="m")
    assert (config.address, config.dtype, config.max_request_bytes) == (
        "127.0.0.1:50051",
        "auto",
        16 * 2**20,
    )


def test_precedence_is_flag_environment_file_default(file: Path) -> None:
    environ = {"GEMWIRE_THREADS": "4", "GEMWIRE_MODEL": "from-environment", "PATH": "/bin"}
    config = load("--config", str(file), "--model", "from-flag", environ=environ)
    assert config.model == "from-flag"
    assert config.threads == 4
    assert config.drain_seconds == 5.0
    assert config.reflection is False
    assert config.max_queue_tokens == 131072


def test_config_file_by_environment(file: Path) -> None:
    assert load(environ={"GEMWIRE_CONFIG": str(file)}).model == "from-file"
    assert load("--model", "m", environ={"GEMWIRE_CONFIG": ""}).model == "m"


@pytest.mark.parametrize("option", dataclasses.fields(ServerConfig), ids=lambda option: option.name)
def test_every_field_comes_from_every_source(
    option: "dataclasses.Field[object]", tmp_path: Path
) -> None:
    value, text = {
        "model": ("other", '"other"'),
        "revision": ("abc", '"abc"'),
        "address": ("unix:/tmp/s", '"unix:/tmp/s"'),
        "dtype": ("bfloat16", '"bfloat16"'),
        "weights": ("int8", '"int8"'),
        "default_task": ("clustering", '"clustering"'),
        "log_level": ("debug", '"debug"'),
        "drain_seconds": (2.5, "2.5"),
        "reflection": (False, "false"),
        "device": ("cuda:1", '"cuda:1"'),
        "devices": ("0,1", '"0,1"'),
        "log_format": ("json", '"json"'),
        "http_address": ("127.0.0.1:8", '"127.0.0.1:8"'),
        "http_token_ids": (True, "true"),
        "metrics_address": ("127.0.0.1:0", '"127.0.0.1:0"'),
        "traces": ("otlp", '"otlp"'),
        "engine": ("thread", '"thread"'),
        "fronts": (4, "4"),
        "cuda_graphs": (False, "false"),
        "residual": ("bf16", '"bf16"'),
        "deterministic": (False, "false"),
        "admin_address": ("127.0.0.1:9", '"127.0.0.1:9"'),
        "tls_cert": ("/tmp/cert.pem", '"/tmp/cert.pem"'),
        "tls_key": ("/tmp/key.pem", '"/tmp/key.pem"'),
        "tls_client_ca": ("/tmp/ca.pem", '"/tmp/ca.pem"'),
        "tokens_file": ("/tmp/tokens", '"/tmp/tokens"'),
        "max_response_bytes": (65536, "65536"),
        "tile_table": ("/tmp/tiles.json", '"/tmp/tiles.json"'),
    }.get(option.name, (2048, "2048"))
    assert value != option.default and option.metadata["help"]
    raw = text.strip('"')
    dashed = option.name.replace("_", "-")
    flags = [f"--{dashed}", raw]
    if isinstance(value, bool):
        flags = [f"--{dashed}" if value else f"--no-{dashed}"]
    path = tmp_path / "one.toml"
    path.write_text(f"{option.name} = {text}\n")
    base = [] if option.name == "model" else ["--model", "m"]
    needed = {
        "tls_cert": ("tls_key",),
        "tls_key": ("tls_cert",),
        "tls_client_ca": ("tls_cert", "tls_key"),
    }
    for other in needed.get(option.name, ()):
        base += [f"--{other.replace('_', '-')}", "/tmp/other.pem"]
    sources = [
        load(*base, *flags),
        load(*base, environ={f"GEMWIRE_{option.name.upper()}": raw}),
        load(*base, "--config", str(path)),
    ]
    assert [getattr(config, option.name) for config in sources] == [value] * 3
    assert sources[0] == sources[1] == sources[2]


@pytest.mark.parametrize(
    ("raw", "value"), [("true", True), ("1", True), ("YES", True), ("0", False), ("No", False)]
)
def test_booleans_of_the_environment(raw: str, value: bool) -> None:
    assert load("--model", "m", environ={"GEMWIRE_REFLECTION": raw}).reflection is value


def test_last_flag_wins() -> None:
    assert load("--model", "m", "--no-reflection", "--reflection").reflection is True


def test_wrong_value_names_option_source_value_and_reason(tmp_path: Path) -> None:
    said = refusal("--model", "m", "--max-queue-tokens", "lots")
    assert said == "--max-queue-tokens is 'lots': must be a whole number"
    said = refusal("--model", "m", environ={"GEMWIRE_THREADS": "-1"})
    assert said == "environment variable GEMWIRE_THREADS is -1: must be from 0 to 4096"
    path = tmp_path / "bad.toml"
    path.write_text('threads = "4"\n')
    said = refusal("--model", "m", "--config", str(path))
    assert said == f"{path}: threads is '4': must be a whole number"
    path.write_text("threads = true\n")
    assert "threads is True: must be a whole number" in refusal("--config", str(path))
    assert "must be true or false" in refusal(environ={"GEMWIRE_REFLECTION": "maybe"})
    assert "must be from 0.0" in refusal("--drain-seconds", "nan")
    assert "must be auto or bfloat16 or float32" in refusal("--dtype", "int8")
    assert "must be debug or" in refusal("--log-level", "loud")


def test_wrong_value_counts_where_another_source_overrides_it() -> None:
    assert "GEMWIRE_THREADS" in refusal(
        "--model", "m", "--threads", "2", environ={"GEMWIRE_THREADS": "x"}
    )


@pytest.mark.parametrize("dtype", ["float16", "fp16", "half"])
def test_float16_is_refused_with_the_reason(dtype: str) -> None:
    assert "overflow" in refusal("--model", "m", "--dtype", dtype)


def test_unknown_names_are_refused_with_a_guess(tmp_path: Path) -> None:
    said = refusal("--model", "m", environ={"GEMWIRE_MAX_QUEUE_TOKEN": "1"})
    assert "no option GEMWIRE_MAX_QUEUE_TOKEN; is GEMWIRE_MAX_QUEUE_TOKENS meant?" in said
    path = tmp_path / "typo.toml"
    path.write_text("adress = ''\n")
    assert "no option 'adress'; is address meant?" in refusal("--config", str(path))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in refusal("--config", str(tmp_path / "absent.toml"))
    path = tmp_path / "broken.toml"
    path.write_text("threads = \n")
    assert f"{path}: not TOML" in refusal("--config", str(path))
    path.write_bytes(b"model = '\xff'\n")
    assert "not UTF-8" in refusal("--config", str(path))


def test_the_model_that_comes_with_gemwire_is_the_default() -> None:
    assert load().model == "gemwire-mini"


def test_an_empty_model_says_which_there_are() -> None:
    said = refusal("--model", "")
    assert "hub id" in said and "gemwire-mini" in said


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:50051",
        "0.0.0.0:0",
        "localhost:1",
        "my-host.example:65535",
        "[::1]:50051",
        "[fe80::1%eth0]:5",
        "unix:/run/gemwire.sock",
    ],
)
def test_addresses(address: str) -> None:
    assert ServerConfig(model="m", address=address).address == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost",
        ":50051",
        "50051",
        "::1:50051",
        "host:65536",
        "host:x",
        "host: 1",
        "http://host:1",
        "host:1/x",
        "unix:relative",
        "unix:",
        "unix:/folder/",
        "unix:/" + 107 * "x",
    ],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="address is"):
        ServerConfig(model="m", address=address)


def test_made_directly_is_checked_too() -> None:
    with pytest.raises(ValueError, match=r"threads is 1\.5: must be a whole number"):
        ServerConfig(model="m", threads=1.5)  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        ServerConfig(model="m").threads = 2  # type: ignore[misc]


def test_some_flags_only() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser, ("model",))
    with pytest.raises(SystemExit):
        parser.parse_args(["--threads", "1"])
    config = ServerConfig.load(parser.parse_args(["--model", "m"]), {"GEMWIRE_THREADS": "2"})
    assert config.threads == 2
