"""Every knob of the server: a field here is a flag, an environment variable and a TOML key."""

import argparse
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from gemwire_server.config import sources
from gemwire_server.config.sources import ConfigError
from gemwire_server.text.prompts import TASKS

Check = Callable[[Any], None]

# What sockaddr_un holds, with its closing zero.
MAX_SOCKET_PATH_BYTES = 107
# The API says its limits as uint32, gRPC takes them as int32.
LARGEST = 2**31 - 1


# The checkpoint of the package gemwire_mini; a folder of this name is ./gemwire-mini.
MINI = "gemwire-mini"

# What makes the model that serves: a name, so that it can be told to another process.
DEFAULT_LOADER = "gemwire_server.runners.choose:load_runner"


def _between(least: float, most: float = LARGEST) -> Check:
    def check(value: float) -> None:
        if not least <= value <= most:
            raise ValueError(f"must be from {least} to {most}")

    return check


def check_address(value: str) -> None:
    """Raises ValueError with the reason, for what is no address."""
    if value.startswith("unix:"):
        path = value.removeprefix("unix:")
        if not path.startswith("/") or path.endswith("/"):
            raise ValueError("after unix: comes the absolute path of the socket")
        if len(path.encode()) > MAX_SOCKET_PATH_BYTES:
            raise ValueError(f"the system takes {MAX_SOCKET_PATH_BYTES} bytes as a socket's path")
        return
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%\w]+\]|[^\s\[\]:/]+):(\d{1,5})", value)
    if match is None or int(match[2]) > 65535:
        raise ValueError(
            "must be host:port, [IPv6]:port or unix:/path; 0.0.0.0:50051 listens on every "
            "interface, port 0 takes any free one"
        )


def _check_metrics_address(value: str) -> None:
    if value.startswith("unix:"):
        raise ValueError("must be host:port or [IPv6]:port")
    if value:
        check_address(value)


def is_local(address: str) -> bool:
    """Whether only this machine reaches it."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("unix", "localhost") or address.startswith("unix:")


def _check_admin_address(value: str) -> None:
    if value:
        check_address(value)


def _check_device(value: str) -> None:
    if re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value) is None:
        raise ValueError("must be auto, cpu, cuda or cuda:N")


def _check_devices(value: str) -> None:
    if value and re.fullmatch(r"\d{1,3}(,\d{1,3})*", value) is None:
        raise ValueError("must be numbers of GPUs with commas between, such as 0,1")


def _check_dtype(value: str) -> None:
    if value in ("float16", "fp16", "half"):
        raise ValueError("Gemma's activations overflow it; bfloat16 is as small and as fast")


def _option(
    default: Any,
    help: str,
    *,
    metavar: str = "",
    choices: Iterable[str] = (),
    check: Check | None = None,
) -> Any:
    metadata = {"help": help, "metavar": metavar, "choices": tuple(choices), "check": check}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """How a server is run. Raises ValueError, naming the field, for what cannot be."""

    model: str = _option(
        MINI,
        "the checkpoint: a folder in sentence-transformers layout, a hub id such as "
        "google/embeddinggemma-300m, or the small English model that comes with gemwire",
        metavar="DIR|ID",
    )
    revision: str = _option(
        "", "commit, tag or branch of the hub id; empty: its newest", metavar="REV"
    )
    sliding_window: int = _option(
        0,
        "the sliding_window that config.json means, where a tool that saved the checkpoint changed it "
        "(EmbeddingGemma's is 512); 0: as config.json says",
        metavar="TOKENS",
        check=_between(0),
    )
    address: str = _option(
        "127.0.0.1:50051",
        "where to listen: host:port (port 0: any free one), [IPv6]:port or unix:/path",
        check=check_address,
    )
    admin_address: str = _option(
        "",
        "where to offer health and reflection, plain and without tokens: for this machine, or for a "
        "cluster's probes; reflection is then no longer on --address; empty: nowhere",
        metavar="ADDRESS",
        check=_check_admin_address,
    )
    tls_cert: str = _option(
        "",
        "a certificate with its chain in PEM, and with it TLS; the file may be replaced meanwhile, "
        "new connections get what is in it then",
        metavar="FILE",
    )
    tls_key: str = _option("", "the certificate's key in PEM, without a password", metavar="FILE")
    tls_client_ca: str = _option(
        "",
        "clients must show a certificate that one of those in this PEM file signed; empty: none",
        metavar="FILE",
    )
    tokens_file: str = _option(
        "",
        "calls need a bearer token whose hash is in this file, a line each as gemwire token prints "
        "it; quotas in it are divided evenly by the front processes; read again when it changes",
        metavar="FILE",
    )
    dtype: str = _option(
        "auto",
        "of weights and matrix products; auto: bfloat16 where the machine computes in it",
        choices=("auto", "bfloat16", "float32"),
        check=_check_dtype,
    )
    device: str = _option(
        "auto",
        "where the engine runs: auto (the first GPU that can, else the CPU), cpu, cuda or cuda:N",
        metavar="DEVICE",
        check=_check_device,
    )
    devices: str = _option(
        "",
        "GPUs to run an engine on each, such as 0,1; work goes to the one with the least queued",
        metavar="N,N",
        check=_check_devices,
    )
    engine: str = _option(
        "process",
        "process: the engine in a process of its own, restarted if it dies; thread: in the server's own",
        choices=("process", "thread"),
    )
    fronts: int = _option(
        1,
        "processes that speak gRPC, on one port; more where calls are many and small",
        check=_between(1, 256),
    )
    watchdog_seconds: float = _option(
        30.0,
        "an engine process that makes no progress for so long is killed and restarted",
        metavar="SECONDS",
        check=_between(0.5, 3600.0),
    )
    liveness_seconds: float = _option(
        300.0,
        "the health of the service named liveness is NOT_SERVING after so long without an engine; "
        "restarts of a crashed one should be sooner",
        metavar="SECONDS",
        check=_between(0.5, 86400.0),
    )
    weights: str = _option(
        "auto",
        "how the weights are stored on a CPU; auto: in dtype; int8: smaller and faster, and less exact "
        "by what `gemwire verify --weights int8` says",
        choices=("auto", "int8"),
    )
    threads: int = _option(
        0,
        "threads of the engine on a CPU; 0: as many as there are physical cores",
        check=_between(0, 4096),
    )
    max_batch_tokens: int = _option(
        0,
        "tokens computed in one step: more is throughput, less is latency for what comes next; "
        "0: what suits the device",
        check=_between(0),
    )
    cuda_graphs: bool = _option(
        True, "on a GPU, replay captured graphs instead of launching kernels"
    )
    residual: str = _option(
        "fp32", "of the residual stream on a GPU; a CPU's is fp32", choices=("fp32", "bf16")
    )
    deterministic: bool = _option(
        True,
        "on a GPU, give a text the same bits in every batch; without, some products go through cuBLAS",
    )
    tile_table: str = _option(
        "", "a file that gemwire tune wrote for this GPU; empty: what gemwire knows", metavar="FILE"
    )
    max_queue_tokens: int = _option(
        131072,
        "tokens that may wait; what does not fit is refused with RESOURCE_EXHAUSTED",
        check=_between(1),
    )
    max_inputs_per_request: int = _option(
        1024, "texts of one BatchEmbed or of one stream message", check=_between(1)
    )
    max_request_bytes: int = _option(
        16 * 2**20, "size of one message", metavar="BYTES", check=_between(1024)
    )
    max_response_bytes: int = _option(
        4 * 2**20,
        "size of one answer: what would be larger is refused, BatchEmbed before it is computed; most "
        "clients receive no more than the default unless told to",
        metavar="BYTES",
        check=_between(65536),
    )
    max_stream_inflight_inputs: int = _option(
        256, "texts a stream may have unanswered at once", check=_between(1)
    )
    max_concurrent_calls: int = _option(
        1024, "calls open at once; more are refused with RESOURCE_EXHAUSTED", check=_between(1)
    )
    call_seconds: float = _option(
        300.0,
        "the deadline of unary calls that bring none, which else could wait unseen; 0: they have none",
        metavar="SECONDS",
        check=_between(0.0, 86400.0),
    )
    max_streams_per_connection: int = _option(
        1024, "calls open at once on one connection; a client holds back more", check=_between(1)
    )
    max_metadata_bytes: int = _option(
        16384,
        "metadata of one call, each item counted with 32 bytes more; a call with more is refused",
        metavar="BYTES",
        check=_between(1024, 2**20),
    )
    max_connection_age: float = _option(
        0.0,
        "after which a connection takes no new calls, so that clients look for servers anew; calls "
        "on it may go on one and a half times as long and 10 s, and streams are told to move; 0: "
        "never",
        metavar="SECONDS",
        check=_between(0.0, 86400.0),
    )
    tokenizer_threads: int = _option(
        0, "threads that tokenize; 0: all cores but one", check=_between(0, 4096)
    )
    default_task: str = _option(
        "",
        "the task of requests that name no prompt; empty: the checkpoint's default prompt",
        metavar="TASK",
        choices=("", *TASKS),
    )
    drain_seconds: float = _option(
        30.0,
        "after SIGTERM, the longest wait for work that was accepted",
        metavar="SECONDS",
        check=_between(0.0, 86400.0),
    )
    log_level: str = _option(
        "info", "the least that is logged", choices=("debug", "info", "warning", "error")
    )
    log_format: str = _option(
        "text", "lines for people, or a JSON object a line", choices=("text", "json")
    )
    metrics_address: str = _option(
        "",
        "where Prometheus reads /metrics and a balancer /readyz over HTTP: host:port (port 0: any free "
        "one); empty: nowhere",
        metavar="ADDRESS",
        check=_check_metrics_address,
    )
    traces: str = _option(
        "none",
        "otlp: send OpenTelemetry traces to where the OTEL_EXPORTER_OTLP_ variables say",
        choices=("none", "otlp"),
    )
    reflection: bool = _option(True, "offer gRPC server reflection")

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            try:
                sources.check(option, value)
            except ValueError as error:
                raise ConfigError(f"{option.name} is {sources.shown(value)}: {error}") from None
        if self.device.startswith("cuda") and self.weights == "int8":
            raise ConfigError("int8 weights are for a CPU: leave out --device", "weights", "device")
        if self.engine == "thread" and self.fronts > 1:
            raise ConfigError("several fronts need --engine process", "fronts", "engine")
        if self.engine == "thread" and self.devices:
            raise ConfigError(
                "an engine for each device needs --engine process", "devices", "engine"
            )
        for name in ("address", "admin_address"):
            if self.fronts > 1 and getattr(self, name).startswith("unix:"):
                raise ConfigError(
                    "several fronts share a TCP port, not a unix socket", "fronts", name
                )
        if self.devices and self.device not in ("auto", "cuda"):
            raise ConfigError("the devices are named twice", "devices", "device")
        if self.device == "cpu" and self.residual != "fp32":
            raise ConfigError("the residual is fp32 on a CPU", "residual")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ConfigError(
                "a certificate and its key go together: give --tls-cert and --tls-key",
                "tls_cert",
                "tls_key",
            )
        if self.tls_client_ca and not self.tls_cert:
            raise ConfigError("client certificates need TLS: give --tls-cert", "tls_client_ca")
        if self.tls_cert and self.address.startswith("unix:"):
            raise ConfigError(
                "a unix socket takes no TLS: the permissions of its folder guard it",
                "tls_cert",
                "address",
            )
        if self.admin_address == self.address and not self.address.endswith(":0"):
            raise ConfigError(
                "the two addresses are the same; leave out --admin-address, and health and "
                "reflection are on --address",
                "admin_address",
                "address",
            )
        if not self.model:
            raise ConfigError(
                f"there is no model: give a folder, a hub id such as google/embeddinggemma-300m, or "
                f"{MINI}",
                "model",
            )

    @classmethod
    def load(cls, args: argparse.Namespace, environ: Mapping[str, str]) -> "ServerConfig":
        """Flag, else environment, else file, else default. A ConfigError names the source."""
        values, origins = sources.gather(fields(cls), args, environ)
        try:
            return cls(**values)
        except ConfigError as error:
            raise error.with_origins(origins) from None


def add_flags(parser: argparse.ArgumentParser, names: Iterable[str] = ()) -> None:
    """Adds --config and a flag for each field, or for the named ones."""
    wanted = set(names) or {option.name for option in fields(ServerConfig)}
    sources.add_flags(parser, [option for option in fields(ServerConfig) if option.name in wanted])
