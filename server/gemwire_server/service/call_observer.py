"""Follows every call from its start to its end, for metrics, traces and the log."""

import logging
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gemwire_server.engine.interface import StepTiming
from gemwire_server.observe.logs import CURRENT_CALL
from gemwire_server.observe.metrics import CallMetrics
from gemwire_server.service.call import Call
from gemwire_server.service.results import TextResults, Tokenized, token_count

if TYPE_CHECKING:
    from gemwire_server.observe.tracing import Tracing

log = logging.getLogger(__name__)


class CallObserver:
    """`tracing` is None where calls are not traced, which costs nothing."""

    def __init__(self, metrics: CallMetrics, tracing: "Tracing | None" = None) -> None:
        self.metrics = metrics
        self.tracing = tracing

    def started(self, call: Call, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Runs in the task that handles the call, before anything can fail. The metadata may name the
        caller's span."""
        method = call.method
        CURRENT_CALL.set((call.request_id, method.full_name))
        self.metrics.call_started(method.api, method.name)
        if self.tracing is not None:
            call.trace = self.tracing.start(
                method.full_name, call.request_id, metadata, system=method.system
            )

    def tokenized(self, call: Call, began: float, tokenized: Sequence[Tokenized]) -> None:
        """Texts of the call were tokenized from `began` until now."""
        if call.trace is not None:
            call.trace.tokenized(began, len(tokenized), token_count(tokenized))

    def answered(
        self, call: Call, submitted: float, results: TextResults, steps: Sequence[StepTiming]
    ) -> None:
        """Texts of the call, submitted to the engine then, have their results or errors."""
        texts, tokens = len(results.token_counts), int(results.token_counts.sum())
        call.texts += texts
        call.tokens += tokens
        reasons = [error.reason for error in results.errors.values()]
        self.metrics.texts_answered(call.method.api, call.method.name, texts, tokens, reasons)
        if call.trace is not None:
            call.trace.computed(submitted, steps)

    def ended(self, call: Call, code: str, reason: str = "") -> None:
        """`code` is the name of a google.rpc.Code, `reason` that of the call's error, if it has one."""
        seconds = time.monotonic() - call.arrived
        method = call.method
        self.metrics.call_ended(method.api, method.name, code, reason, seconds)
        if call.trace is not None:
            call.trace.end(code, reason, call.texts, call.tokens)
        if log.isEnabledFor(logging.DEBUG):
            fields = {
                "code": code,
                "reason": reason,
                "seconds": round(seconds, 6),
                "texts": call.texts,
                "tokens": call.tokens,
            }
            line = " ".join(f"{key}={value}" for key, value in fields.items() if value != "")
            log.debug("%s ended: %s", method.full_name, line, extra={"fields": fields})
