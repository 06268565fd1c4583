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
        "google/embeddinggemma-300m, or gemwire-mini, the small English model that comes with gemwire",
        metavar="DIR|ID",
    )
    revision: str = groups.model(
        "", "commit, tag or branch of the hub id; empty: the newest commit", metavar="REV"
    )
    sliding_window: int = groups.model(
        0,
        "the sliding_window to use where the tool that saved the checkpoint changed the number in "
        "config.json (EmbeddingGemma's is 512); 0: the number in config.json",
        metavar="TOKENS",
        check=Between(0),
    )
    default_task: str = groups.model(
        "",
        "the task whose prompt requests get that name no prompt; empty: the checkpoint's default prompt",
        metavar="TASK",
        choices=("", *TASKS),
    )

    address: str = groups.address(
        "127.0.0.1:50051",
        "the address to listen on: host:port (port 0: any free port), [IPv6]:port or unix:/path",
        check=check_address,
    )
    admin_address: str = groups.address(
        "",
        "a second address that offers health and reflection without TLS and tokens, for this machine or "
        "a cluster's probes; --address then offers no reflection; empty: no second address",
        metavar="ADDRESS",
        check=check_address_if_given,
    )
    reflection: bool = groups.address(True, "offer gRPC server reflection")
    http_address: str = groups.address(
        "",
        "the address of the HTTP APIs, those of OpenAI and of Text Embeddings Inference: host:port (port "
        "0: any free port); empty: no HTTP",
        metavar="ADDRESS",
        check=check_http_address,
    )
    http_token_ids: bool = groups.address(
        False,
        "on the OpenAI route, take arrays of token ids, which must be of the served model's own tokenizer",
    )

    max_batch_tokens: int = groups.limit(
        0,
        "most tokens in one batch: a larger batch raises throughput, a smaller one shortens the wait of "
        "the next request; 0: a number that suits the device",
        check=Between(0),
    )
    max_queue_tokens: int = groups.limit(
        131072,
        "most tokens in the queue; requests that find no room are refused with RESOURCE_EXHAUSTED",
        check=Between(1),
    )
    max_inputs_per_request: int = groups.limit(
        1024, "most texts in one BatchEmbed or one stream message", check=Between(1)
    )
    max_request_bytes: int = groups.limit(
        16 * 2**20, "largest size of one request message", metavar="BYTES", check=Between(1024)
    )
    max_response_bytes: int = groups.limit(
        4 * 2**20,
        "largest size of one response message: calls whose response would be larger are refused, a "
        "BatchEmbed before it is computed; most clients accept no more than the default unless they are "
        "configured to",
        metavar="BYTES",
        check=Between(65536),
    )
    max_stream_inflight_inputs: int = groups.limit(
        256, "most unanswered texts of one stream", check=Between(1)
    )
    max_concurrent_calls: int = groups.limit(
        1024, "most open calls; further calls are refused with RESOURCE_EXHAUSTED", check=Between(1)
    )
    max_streams_per_connection: int = groups.limit(
        1024,
        "most open calls on one connection; the client holds further calls back",
        check=Between(1),
    )
    max_metadata_bytes: int = groups.limit(
        16384,
        "largest metadata of one call, each item counted with 32 bytes more; calls with more are refused",
        metavar="BYTES",
        check=Between(1024, 2**20),
    )
    call_seconds: float = groups.limit(
        300.0,
        "the deadline of unary calls that bring none; 0: such calls have no deadline",
        metavar="SECONDS",
        check=Between(0.0, 86400.0),
    )

    device: str = groups.engine(
        "auto",
        "the device of the engine: auto (the first usable GPU, or else the CPU), cpu, cuda or cuda:N",
        metavar="DEVICE",
        check=check_device,
    )
    devices: str = groups.engine(
        "",
        "GPUs that each get an engine, such as 0,1; a request goes to the engine with the shortest queue",
        metavar="N,N",
        check=check_devices,
    )
    engine: str = groups.engine(
        "process",
        "process: the engine runs in a process of its own, which is restarted if it dies; thread: it runs "
        "in the server's process",
        choices=("process", "thread"),
    )
    fronts: int = groups.engine(
        1,
        "processes that serve gRPC on one port; raise it where calls are many and small",
        check=Between(1, 256),
    )
    dtype: str = groups.engine(
        "auto",
        "dtype of weights and matrix products; auto: bfloat16 where the machine computes in it",
        choices=("auto", "bfloat16", "float32"),
        check=check_dtype,
    )
    weights: str = groups.engine(
        "auto",
        "format of the weights on a CPU; auto: dtype; int8: smaller and faster, and less exact: "
        "`gemwire verify --weights int8` prints by how much",
        choices=("auto", "int8"),
    )
    threads: int = groups.engine(
        0,
        "threads of the engine on a CPU; 0: one for each physical core",
        check=Between(0, 4096),
    )
    tokenizer_threads: int = groups.engine(
        0, "threads of the tokenizer; 0: all cores but one", check=Between(0, 4096)
    )
    cuda_graphs: bool = groups.engine(
        True, "on a GPU, replay captured graphs instead of launching kernels one by one"
    )
    residual: str = groups.engine(
        "fp32",
        "precision of the residual stream on a GPU; on a CPU it is fp32",
        choices=("fp32", "bf16"),
    )
    deterministic: bool = groups.engine(
        True,
        "on a GPU, give a text the same bits in every batch; otherwise cuBLAS computes some products",
    )
    tile_table: str = groups.engine(
        "",
        "a file that `gemwire tune` wrote for this GPU; empty: the table that comes with gemwire",
        metavar="FILE",
    )

    tls_cert: str = groups.security(
        "",
        "the server's certificate with its chain in PEM, which turns TLS on; the file may be replaced "
        "while the server runs, and new connections get the new certificate",
        metavar="FILE",
    )
    tls_key: str = groups.security(
        "", "the certificate's key in PEM, without a password", metavar="FILE"
    )
    tls_client_ca: str = groups.security(
        "",
        "a PEM file of authorities: clients must show a certificate that one of these has signed; empty: "
        "clients need no certificate",
        metavar="FILE",
    )
    tokens_file: str = groups.security(
        "",
        "a file of token hashes, one line each as `gemwire token` prints it: calls need a bearer token of "
        "this file; its quotas are divided evenly among the front processes, and a changed file is read "
        "again; empty: calls need no token",
        metavar="FILE",
    )

    metrics_address: str = groups.observability(
        "",
        "the HTTP address of /metrics for Prometheus and /readyz for a balancer: host:port (port 0: any "
        "free port); empty: no HTTP",
        metavar="ADDRESS",
        check=check_http_address,
    )
    log_level: str = groups.observability(
        "info", "the lowest level that is logged", choices=("debug", "info", "warning", "error")
    )
    log_format: str = groups.observability(
        "text", "text: lines for people; json: one JSON object a line", choices=("text", "json")
    )
    traces: str = groups.observability(
        "none",
        "otlp: send OpenTelemetry traces to the endpoint that the variables OTEL_EXPORTER_OTLP_* name",
        choices=("none", "otlp"),
    )

    drain_seconds: float = groups.lifecycle(
        30.0,
        "after SIGTERM, how long the server waits at most for requests that it has accepted",
        metavar="SECONDS",
        check=Between(0.0, 86400.0),
    )
    max_connection_age: float = groups.lifecycle(
        0.0,
        "the age at which a connection takes no new calls, so that clients look for servers anew; its "
        "calls may go on for one and a half times as long plus 10 s, and its streams get a go-away; 0: "
        "no limit",
        metavar="SECONDS",
        check=Between(0.0, 86400.0),
    )
    watchdog_seconds: float = groups.lifecycle(
        30.0,
        "an engine process that makes no progress for this long is killed and restarted",
        metavar="SECONDS",
        check=Between(0.5, 3600.0),
    )
    liveness_seconds: float = groups.lifecycle(
        300.0,
        "after this long without an engine, the health service reports liveness as NOT_SERVING; the "
        "restart of a crashed engine should take less",
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
        for name in ("address", "admin_address", "metrics_address"):
            other = getattr(self, name)
            if other and other == self.http_address and not other.endswith(":0"):
                raise ConfigError("HTTP needs an address of its own", "http_address", name)
        if not self.model:
            raise ConfigError(
                f"there is no model: give a folder, a hub id such as google/embeddinggemma-300m, or "
                f"{MINI}",
                "model",
            )

    @classmethod
    def load(cls, args: argparse.Namespace, environ: Mapping[str, str]) -> "ServerConfig":
        """Takes each value from the flag, else the environment, else the file, else the default.

        Raises ConfigError, which names the source.
        """
        values, origins = sources.gather(fields(cls), args, environ)
        try:
            return cls(**values)
        except ConfigError as error:
            raise error.with_origins(origins) from None


def add_flags(parser: argparse.ArgumentParser, names: Iterable[str] = ()) -> None:
    """Adds --config and a flag for each option, or for the named options."""
    wanted = set(names) or {option.name for option in fields(ServerConfig)}
    sources.add_flags(parser, [option for option in fields(ServerConfig) if option.name in wanted])
