"""Every option of the server: a field here is a flag, an environment variable and a TOML key."""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from gemwire_server.config import groups, sources
from gemwire_server.config.checks import (
    Between,
    check_address,
    check_address_if_given,
    check_device,
    check_devices,
    check_dtype,
    check_http_address,
)
from gemwire_server.config.sources import ConfigError
from gemwire_server.text.prompts import TASKS

# The checkpoint of the package gemwire_mini; a folder of this name is ./gemwire-mini.
MINI = "gemwire-mini"

# The function that makes the model to serve: by name, so that another process can be given it.
DEFAULT_LOADER = "gemwire_server.runners.choose:load_runner"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """How a server is run. Raises ConfigError, naming the field, for values that cannot be."""

    model: str = groups.model(
        MINI,
        "the checkpoint: a folder in sentence-transformers layout, a hub id such as "
        "google/embeddinggemma-300m, or the small English model that comes with gemwire",
        metavar="DIR|ID",
    )
    revision: str = groups.model(
        "", "commit, tag or branch of the hub id; empty: its newest", metavar="REV"
    )
    sliding_window: int = groups.model(
        0,
        "the sliding_window that config.json means, where a tool that saved the checkpoint changed it "
        "(EmbeddingGemma's is 512); 0: as config.json says",
        metavar="TOKENS",
        check=Between(0),
    )
    default_task: str = groups.model(
        "",
        "the task of requests that name no prompt; empty: the checkpoint's default prompt",
        metavar="TASK",
        choices=("", *TASKS),
    )

    address: str = groups.address(
        "127.0.0.1:50051",
        "where to listen: host:port (port 0: any free one), [IPv6]:port or unix:/path",
        check=check_address,
    )
    admin_address: str = groups.address(
        "",
        "where to offer health and reflection, plain and without tokens: for this machine, or for a "
        "cluster's probes; reflection is then no longer on --address; empty: nowhere",
        metavar="ADDRESS",
        check=check_address_if_given,
    )
    reflection: bool = groups.address(True, "offer gRPC server reflection")

    max_batch_tokens: int = groups.limit(
        0,
        "tokens computed in one step: more is throughput, less is latency for what comes next; "
        "0: what suits the device",
        check=Between(0),
    )
    max_queue_tokens: int = groups.limit(
        131072,
        "tokens that may wait; what does not fit is refused with RESOURCE_EXHAUSTED",
        check=Between(1),
    )
    max_inputs_per_request: int = groups.limit(
        1024, "texts of one BatchEmbed or of one stream message", check=Between(1)
    )
    max_request_bytes: int = groups.limit(
        16 * 2**20, "size of one message", metavar="BYTES", check=Between(1024)
    )
    max_response_bytes: int = groups.limit(
        4 * 2**20,
        "size of one answer: what would be larger is refused, BatchEmbed before it is computed; most "
        "clients receive no more than the default unless told to",
        metavar="BYTES",
        check=Between(65536),
    )
    max_stream_inflight_inputs: int = groups.limit(
        256, "texts a stream may have unanswered at once", check=Between(1)
    )
    max_concurrent_calls: int = groups.limit(
        1024, "calls open at once; more are refused with RESOURCE_EXHAUSTED", check=Between(1)
    )
    max_streams_per_connection: int = groups.limit(
        1024, "calls open at once on one connection; a client holds back more", check=Between(1)
    )
    max_metadata_bytes: int = groups.limit(
        16384,
        "metadata of one call, each item counted with 32 bytes more; a call with more is refused",
        metavar="BYTES",
        check=Between(1024, 2**20),
    )
    call_seconds: float = groups.limit(
        300.0,
        "the deadline of unary calls that bring none, which else could wait unseen; 0: they have none",
        metavar="SECONDS",
        check=Between(0.0, 86400.0),
    )

    device: str = groups.engine(
        "auto",
        "where the engine runs: auto (the first GPU that can, else the CPU), cpu, cuda or cuda:N",
        metavar="DEVICE",
        check=check_device,
    )
    devices: str = groups.engine(
        "",
        "GPUs to run an engine on each, such as 0,1; work goes to the one with the least queued",
        metavar="N,N",
        check=check_devices,
    )
    engine: str = groups.engine(
        "process",
        "process: the engine in a process of its own, restarted if it dies; thread: in the server's own",
        choices=("process", "thread"),
    )
    fronts: int = groups.engine(
        1,
        "processes that speak gRPC, on one port; more where calls are many and small",
        check=Between(1, 256),
    )
    dtype: str = groups.engine(
        "auto",
        "of weights and matrix products; auto: bfloat16 where the machine computes in it",
        choices=("auto", "bfloat16", "float32"),
        check=check_dtype,
    )
    weights: str = groups.engine(
        "auto",
        "how the weights are stored on a CPU; auto: in dtype; int8: smaller and faster, and less exact "
        "by what `gemwire verify --weights int8` says",
        choices=("auto", "int8"),
    )
    threads: int = groups.engine(
        0,
        "threads of the engine on a CPU; 0: as many as there are physical cores",
        check=Between(0, 4096),
    )
    tokenizer_threads: int = groups.engine(
        0, "threads that tokenize; 0: all cores but one", check=Between(0, 4096)
    )
    cuda_graphs: bool = groups.engine(
        True, "on a GPU, replay captured graphs instead of launching kernels"
    )
    residual: str = groups.engine(
        "fp32", "of the residual stream on a GPU; a CPU's is fp32", choices=("fp32", "bf16")
    )
    deterministic: bool = groups.engine(
        True,
        "on a GPU, give a text the same bits in every batch; without, some products go through cuBLAS",
    )
    tile_table: str = groups.engine(
        "", "a file that gemwire tune wrote for this GPU; empty: what gemwire knows", metavar="FILE"
    )

    tls_cert: str = groups.security(
        "",
        "a certificate with its chain in PEM, and with it TLS; the file may be replaced meanwhile, "
        "new connections get what is in it then",
        metavar="FILE",
    )
    tls_key: str = groups.security(
        "", "the certificate's key in PEM, without a password", metavar="FILE"
    )
    tls_client_ca: str = groups.security(
        "",
        "clients must show a certificate that one of those in this PEM file signed; empty: none",
        metavar="FILE",
    )
    tokens_file: str = groups.security(
        "",
        "calls need a bearer token whose hash is in this file, a line each as gemwire token prints "
        "it; quotas in it are divided evenly by the front processes; read again when it changes",
        metavar="FILE",
    )

    metrics_address: str = groups.observability(
        "",
        "where Prometheus reads /metrics and a balancer /readyz over HTTP: host:port (port 0: any free "
        "one); empty: nowhere",
        metavar="ADDRESS",
        check=check_http_address,
    )
    log_level: str = groups.observability(
        "info", "the least that is logged", choices=("debug", "info", "warning", "error")
    )
    log_format: str = groups.observability(
        "text", "lines for people, or a JSON object a line", choices=("text", "json")
    )
    traces: str = groups.observability(
        "none",
        "otlp: send OpenTelemetry traces to where the OTEL_EXPORTER_OTLP_ variables say",
        choices=("none", "otlp"),
    )

    drain_seconds: float = groups.lifecycle(
        30.0,
        "after SIGTERM, the longest wait for work that was accepted",
        metavar="SECONDS",
        check=Between(0.0, 86400.0),
    )
    max_connection_age: float = groups.lifecycle(
        0.0,
        "after which a connection takes no new calls, so that clients look for servers anew; calls "
        "on it may go on one and a half times as long and 10 s, and streams are told to move; 0: "
        "never",
        metavar="SECONDS",
        check=Between(0.0, 86400.0),
    )
    watchdog_seconds: float = groups.lifecycle(
        30.0,
        "an engine process that makes no progress for so long is killed and restarted",
        metavar="SECONDS",
        check=Between(0.5, 3600.0),
    )
    liveness_seconds: float = groups.lifecycle(
        300.0,
        "the health of the service named liveness is NOT_SERVING after so long without an engine; "
        "restarts of a crashed one should be sooner",
        metavar="SECONDS",
        check=Between(0.5, 86400.0),
    )

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
