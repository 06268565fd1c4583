"""Admission: whether a queue takes more tokens, and the advice where it does not. Pure.

The scheduler admits by what it holds. A front asks ahead of it, by what the front knows of an engine in
another process. Both ask here, so both refuse alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gemwire_server.errors import InvalidInput, Overloaded

QUEUE_FULL = "QUEUE_FULL"
CALLER_QUEUE_FULL = "CALLER_QUEUE_FULL"
DEADLINE_UNREACHABLE = "DEADLINE_UNREACHABLE"
REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"

# A caller may hold this many times what it leaves free (dynamic thresholds; Choudhury, Hahne 1998). One
# caller gets four fifths of the queue, so that the next one finds room; two get four ninths each.
SHARE_OF_FREE = 4
# Share of a call's remaining time that it may be expected to wait. In a queue where every call waits for
# just as long as it can, half of the calls are answered too late.
CAUTION = 0.9
# Share of the queue that streams leave to unary calls.
INTERACTIVE_SHARE = 0.125
SHORTEST_RETRY_SECONDS = 0.1
# The advice until a rate is measured. The first full step measures it, and a full queue has one next.
UNMEASURED_RETRY_SECONDS = 1.0


# Not frozen: every submission makes one, and a frozen one takes 0.75 us to make instead of 0.3 us.
@dataclass(slots=True, kw_only=True)
class QueueState:
    """A queue at the moment that a caller asks for room in it. Every `check_*` raises Overloaded.

    `caller_tokens` are the caller's; `token_rate` is in tokens a second of recent steps, 0 before the first
    that was half full.
    """

    queued_tokens: int
    max_queue_tokens: int
    caller_tokens: int
    token_rate: float

    def check_share(self, tokens: int, *, coming: int = 0, bulk: bool = False) -> None:
        """Refuses what does not fit behind the queue and `coming` tokens, or is over the caller's share."""
        free = self.max_queue_tokens - self.queued_tokens - coming - tokens
        if free < self.max_queue_tokens * INTERACTIVE_SHARE * bulk:
            raise self.refusal(QUEUE_FULL, f"no room for {tokens} tokens")
        waiting = self.caller_tokens
        if waiting and waiting + tokens > SHARE_OF_FREE * free:
            raise self.refusal(
                CALLER_QUEUE_FULL,
                f"{waiting} tokens of this caller wait, and others need room: no room for {tokens}",
            )

    def check_deadline(self, wait_seconds: float, seconds_left: float) -> None:
        """Refuses what would wait past its deadline. A deadline in the past is the queue's to answer."""
        if is_too_long(wait_seconds, seconds_left):
            raise self.refusal(
                DEADLINE_UNREACHABLE,
                f"it would wait about {wait_seconds:.3g} s, past its deadline",
            )

    def check_room(self, coming: int, guess: int, *, seconds_left: float | None) -> None:
        """Refuses about `guess` tokens, behind `coming` that are not queued yet, which will hardly fit or
        not be computed in time.

        A request with the queue to itself is let through: a guess must not refuse what might fit. Only the
        caller's own tokens count as its wait, which needs no look at the other callers.
        """
        if not self.queued_tokens + coming:
            return
        self.check_share(guess, coming=coming)
        if seconds_left is not None and self.caller_tokens and self.token_rate:
            self.check_deadline((self.caller_tokens + guess) / self.token_rate, seconds_left)

    def refusal(self, reason: str, message: str) -> Overloaded:
        """The error, with the queue's figures in its message and metadata."""
        return Overloaded(
            reason,
            f"{message}; {self.queued_tokens} of {self.max_queue_tokens} tokens wait",
            retry_after=self.drain_seconds(),
            queued_tokens=self.queued_tokens,
            max_queue_tokens=self.max_queue_tokens,
        )

    def drain_seconds(self) -> float:
        """Seconds that the device needs for what waits now, by its recent rate."""
        if not self.token_rate:
            return UNMEASURED_RETRY_SECONDS
        return max(SHORTEST_RETRY_SECONDS, self.queued_tokens / self.token_rate)


def check_size(tokens: int, max_queue_tokens: int) -> None:
    """Raises InvalidInput for a request that would not fit into the queue if it were empty."""
    if tokens > max_queue_tokens:
        raise InvalidInput(
            REQUEST_TOO_LARGE,
            f"{tokens} tokens at once are more than the queue's limit of {max_queue_tokens}: send fewer or "
            "shorter texts",
            tokens=tokens,
            limit=max_queue_tokens,
        )


def is_too_long(wait_seconds: float, seconds_left: float) -> bool:
    """Whether a call with so much time left should not be made to wait that long."""
    return 0 < CAUTION * seconds_left < wait_seconds


def tokens_until_done(
    tokens: int,
    *,
    same_flow: int,
    other_flows: Iterable[int],
    higher_priorities: int,
    other_callers: Iterable[int],
) -> int:
    """Tokens that the device computes until it has computed `tokens` more of a flow, if nothing else comes.

    While they wait, each other caller gets as many tokens as their caller, or all it has if that is less.
    Within the caller, higher priorities go first, and each other flow gets as many tokens as theirs.
    """
    own = same_flow + tokens
    own += sum(min(other, own) for other in other_flows)
    own += higher_priorities
    return own + sum(min(other, own) for other in other_callers)


def compute_seconds(
    tokens: int, *, waiting: int, max_batch_tokens: int, token_rate: float
) -> float:
    """Seconds to compute `tokens` of the `waiting` ones. They are done when the last of their steps is, and
    a step is as large as there are texts for."""
    steps = -(-tokens // max_batch_tokens)
    return min(steps * max_batch_tokens, waiting) / token_rate
