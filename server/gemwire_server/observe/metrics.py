"""The metrics of a server, for Prometheus. Labels come from fixed sets: no caller and no text is one.

The counts balance: calls started are those ended, by code, and those in flight; texts an engine accepted
are those it ended, those it dropped, by reason, and those it has.
"""

from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from gemwire_server.engine.interface import Observer
from gemwire_server.engine.scheduler import Item

# Several processes together have no such series, so one alone has none either.
disable_created_metrics()

SECONDS = tuple(0.00025 * 2**i for i in range(18))  # 0.25 ms to 33 s
SIZES = tuple(4.0**i for i in range(10))  # 1 to 262,144
FILL = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
DROP_REASONS = ("cancelled", "expired", "abandoned", "poison", "lost")
SECURITY_FILES = ("certificate", "tokens")
PARTS = ("engine", "front")
RESTART_REASONS = ("died", "hung", "other")
METHOD = ("api", "method")
"""The labels of every metric of calls."""
LOST = "LOST"
"""The code of calls that ended with their process: whoever made them was told UNAVAILABLE by gRPC."""


class _Method:
    """The series of one method, looked up once."""

    def __init__(self, api: str, name: str, metrics: "CallMetrics") -> None:
        self.started = metrics.started.labels(api, name)
        self.in_flight = metrics.in_flight.labels(api, name)
        self.seconds = metrics.seconds.labels(api, name)
        self.texts = metrics.texts.labels(api, name)
        self.tokens = metrics.tokens.labels(api, name)
        self.ended = {"OK": metrics.ended.labels(api, name, "OK")}


class CallMetrics:
    """The calls of a process that has fronts, the texts in them, and the process's event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.started = Counter(
            "gemwire_calls_started", "Calls that arrived.", METHOD, registry=registry
        )
        self.ended = Counter(
            "gemwire_calls_ended", "Calls that ended.", [*METHOD, "code"], registry=registry
        )
        self.in_flight = Gauge(
            "gemwire_calls_in_flight",
            "Calls that are open.",
            METHOD,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.seconds = Histogram(
            "gemwire_call_duration_seconds",
            "From a call's arrival to its end.",
            METHOD,
            registry=registry,
            buckets=SECONDS,
        )
        self.texts = Counter(
            "gemwire_texts",
            "Texts that calls had answered, errors included.",
            METHOD,
            registry=registry,
        )
        self.tokens = Counter("gemwire_tokens", "Tokens of them.", METHOD, registry=registry)
        self.failed = Counter(
            "gemwire_calls_failed",
            "Calls that failed, by why.",
            [*METHOD, "reason"],
            registry=registry,
        )
        self.failed_texts = Counter(
            "gemwire_texts_failed",
            "Texts that were answered with an error, by why.",
            [*METHOD, "reason"],
            registry=registry,
        )
        self.loop_lag = Histogram(
            "gemwire_event_loop_lag_seconds",
            "How late a timer of the front's event loop was.",
            registry=registry,
            buckets=SECONDS,
        )
        self._reload_failures = Counter(
            "gemwire_security_reload_failures",
            "Changed files that could not be used, so that what was read before stays.",
            ["kind"],
            registry=registry,
        )
        for kind in SECURITY_FILES:
            self._reload_failures.labels(kind)
        self._methods: dict[tuple[str, str], _Method] = {}

    def register(self, api: str, method: str) -> None:
        """Gives a method its series, at zero. A method without one is not counted below."""
        self._methods[api, method] = _Method(api, method, self)

    def call_started(self, api: str, method: str) -> None:
        if (series := self._methods.get((api, method))) is not None:
            series.started.inc()
            series.in_flight.inc()

    def call_ended(self, api: str, method: str, code: str, reason: str, seconds: float) -> None:
        """`code` is the name of a google.rpc.Code, `reason` the error's, if the call had one."""
        if (series := self._methods.get((api, method))) is None:
            return
        if (ended := series.ended.get(code)) is None:
            ended = series.ended[code] = self.ended.labels(api, method, code)
        ended.inc()
        series.in_flight.dec()
        series.seconds.observe(seconds)
        if reason:
            self.failed.labels(api, method, reason).inc()

    def texts_answered(
        self, api: str, method: str, texts: int, tokens: int, reasons: Sequence[str]
    ) -> None:
        """`reasons` are those of the texts that were answered with an error."""
        if (series := self._methods.get((api, method))) is None:
            return
        series.texts.inc(texts)
        series.tokens.inc(tokens)
        for reason in reasons:
            self.failed_texts.labels(api, method, reason).inc()

    def bad_file(self, kind: str) -> None:
        """`kind` is one of `SECURITY_FILES`."""
        self._reload_failures.labels(kind).inc()


class EngineMetrics(Observer):
    """Counts an engine's texts, its queue and its steps."""

    def __init__(self, registry: CollectorRegistry, *, max_batch_tokens: int) -> None:
        self._max_batch_tokens = max_batch_tokens
        self._last_rate = 0.0
        self.accepted_texts = Counter(
            "gemwire_engine_texts_accepted", "Texts taken into the queue.", registry=registry
        )
        self.ended_texts = Counter(
            "gemwire_engine_texts_ended", "Texts that were computed.", registry=registry
        )
        self.dropped_texts = Counter(
            "gemwire_engine_texts_dropped",
            "Texts that were accepted and got no vector, by why.",
            ["reason"],
            registry=registry,
        )
        self._dropped = {reason: self.dropped_texts.labels(reason) for reason in DROP_REASONS}
        self._texts = Gauge(
            "gemwire_engine_texts",
            "Texts that wait or are computed now.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._tokens = Counter(
            "gemwire_engine_tokens_computed", "Tokens of texts computed.", registry=registry
        )
        self._queue_tokens = Gauge(
            "gemwire_queue_tokens",
            "Tokens that wait for the device.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._rate = Gauge(
            "gemwire_engine_tokens_per_second",
            "Tokens a second, of recent steps.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._wait = Histogram(
            "gemwire_queue_wait_seconds",
            "How long a call's texts of one step had waited for it.",
            registry=registry,
            buckets=SECONDS,
        )
        self._seconds = Histogram(
            "gemwire_step_seconds",
            "Time of a step on the device.",
            registry=registry,
            buckets=SECONDS,
        )
        self._step_texts = Histogram(
            "gemwire_step_texts", "Texts of a step.", registry=registry, buckets=SIZES
        )
        self._step_tokens = Histogram(
            "gemwire_step_tokens", "Tokens of a step.", registry=registry, buckets=SIZES
        )
        self._fill = Histogram(
            "gemwire_step_fill_ratio",
            "Tokens of a step, of the budget for one.",
            registry=registry,
            buckets=FILL,
        )
        self._failed_steps = Counter(
            "gemwire_steps_failed", "Steps that the device failed.", registry=registry
        )

    def accepted(self, texts: int) -> None:
        self.accepted_texts.inc(texts)
        self._texts.inc(texts)

    def queue(self, tokens: int, token_rate: float) -> None:
        self._queue_tokens.set(tokens)
        if (
            token_rate != self._last_rate
        ):  # the engine reports it several times a step and changes it once
            self._last_rate = token_rate
            self._rate.set(token_rate)

    def ended(self, items: Sequence[Item], waits: Sequence[float], seconds: float) -> None:
        tokens = sum(len(item.input_ids) for item in items)
        self._seconds.observe(seconds)
        self._step_texts.observe(len(items))
        self._step_tokens.observe(tokens)
        self._fill.observe(tokens / self._max_batch_tokens)
        self._tokens.inc(tokens)
        by_owner = {item.owner: wait for item, wait in zip(items, waits, strict=True)}
        for wait in by_owner.values():  # a bulk call's texts came together
            self._wait.observe(wait)
        self.ended_texts.inc(len(items))
        self._texts.dec(len(items))

    def failed(self) -> None:
        self._failed_steps.inc()

    def dropped(self, reason: str, texts: int) -> None:
        self._dropped[reason].inc(texts)
        self._texts.dec(texts)


class SupervisorMetrics:
    """Counts restarts of engines and fronts, and the engines that serve."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._restarts = Counter(
            "gemwire_restarts",
            "Processes that were started again, by why.",
            ["part", "reason"],
            registry=registry,
        )
        for part in PARTS:
            for reason in RESTART_REASONS:
                self._restarts.labels(part, reason)
        self._serving = Gauge(
            "gemwire_engines_serving",
            "Engines that compute.",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def restarted(self, part: str, reason: str) -> None:
        """`part` is one of `PARTS`; a reason that is not of `RESTART_REASONS` counts as the last."""
        known = reason if reason in RESTART_REASONS else RESTART_REASONS[-1]
        self._restarts.labels(part, known).inc()

    def engines_serving(self, count: int) -> None:
        self._serving.set(count)
