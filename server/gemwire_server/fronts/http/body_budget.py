"""The memory that the bodies of requests take together."""

from gemwire_server.errors import Overloaded

# The budget, in bodies of the largest size. Their texts are far more than the queue of the engine takes.
LARGEST_BODIES = 4
# The bytes of each body that the budget does not count: small requests pass where large ones have used the
# budget up. uvicorn reads as much of a body before the server asks for any.
FREE_BYTES = 65536


class BodyBudget:
    """Bytes for the large bodies that are read, or wait for their answer. For one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    def body(self) -> "BodyShare":
        return BodyShare(self)

    def take(self, count: int) -> None:
        """Raises Overloaded if the bodies of other requests leave no room."""
        if self._taken + count > self._limit:
            raise Overloaded(
                "TOO_MANY_BYTES",
                f"the requests that the server works on hold {self._limit} bytes, the limit",
                retry_after=1.0,
            )
        self._taken += count

    def give_back(self, count: int) -> None:
        self._taken -= count


class BodyShare:
    """The part of the budget that one body takes while it grows, until `close`."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._taken = 0

    def grow_to(self, size: int) -> None:
        """Takes what a body of `size` bytes needs. Raises Overloaded."""
        more = size - FREE_BYTES - self._taken
        if more > 0:
            self._budget.take(more)
            self._taken += more

    def close(self) -> None:
        """The body is no longer there."""
        self._budget.give_back(self._taken)
        self._taken = 0
