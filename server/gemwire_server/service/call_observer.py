"""What is told of every call, from its start to its end, for metrics, traces and the log."""

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import grpc

from gemwire_server.engine.interface import StepTiming
from gemwire_server.fronts.grpc.gemwire_v1.wire import EmbedResults
from gemwire_server.observe.logs import CURRENT_CALL
from gemwire_server.observe.metrics import CallMetrics
from gemwire_server.service.call import Call
from gemwire_server.text.tokenizer import Encoded

if TYPE_CHECKING:
    from gemwire_server.observe.tracing import Tracing

log = logging.getLogger(__name__)


class CallObserver:
    """`tracing` None is none, and costs nothing."""

    def __init__(self, metrics: CallMetrics, tracing: "Tracing | None" = None) -> None:
        self.metrics = metrics
        self.tracing = tracing

    def started(self, call: Call, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        """In the task that handles the call, before anything can go wrong."""
        CURRENT_CALL.set((call.request_id, call.method))
        self.metrics.call_started(call.method)
        if self.tracing is not None:
            metadata = context.invocation_metadata() or ()
            call.trace = self.tracing.start(call.method, call.request_id, tuple(metadata))

    def tokenized(self, call: Call, began: float, tokenized: Sequence[object]) -> None:
        """Texts of the call, since `began`."""
        if call.trace is not None:
            tokens = sum(len(item.ids) for item in tokenized if isinstance(item, Encoded))
            call.trace.tokenized(began, len(tokenized), tokens)

    def answered(
        self, call: Call, submitted: float, answers: EmbedResults, steps: Sequence[StepTiming]
    ) -> None:
        """Texts of the call that were submitted then have their vectors, or errors."""
        texts, tokens = len(answers.token_counts), int(answers.token_counts.sum())
        call.texts += texts
        call.tokens += tokens
        reasons = [error.reason for error in answers.errors.values()]
        self.metrics.texts_answered(call.method, texts, tokens, reasons)
        if call.trace is not None:
            call.trace.computed(submitted, steps)

    def ended(self, call: Call, code: grpc.StatusCode, reason: str = "") -> None:
        """`reason` is that of the call's error, if it has one."""
        seconds = time.monotonic() - call.arrived
        self.metrics.call_ended(call.method, code.name, reason, seconds)
        if call.trace is not None:
            call.trace.end((code.value[0], code.name), reason, call.texts, call.tokens)
        if log.isEnabledFor(logging.DEBUG):
            fields = {
                "code": code.name,
                "reason": reason,
                "seconds": round(seconds, 6),
                "texts": call.texts,
                "tokens": call.tokens,
            }
            told = " ".join(f"{key}={value}" for key, value in fields.items() if value != "")
            log.debug("%s ended: %s", call.method, told, extra={"fields": fields})
