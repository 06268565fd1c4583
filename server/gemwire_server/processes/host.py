"""Serves fronts in other processes: passes what they send over their links to a ThreadEngine."""

import contextlib
import itertools
import logging
import os
import selectors
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial

from gemwire_server.engine.interface import REFUSALS, Observer, Results, Submission
from gemwire_server.engine.scheduler import Item
from gemwire_server.engine.thread_engine import ThreadEngine
from gemwire_server.processes import messages
from gemwire_server.processes.link import Link, LinkClosed
from gemwire_server.processes.messages import Answer, Cancel, Encoded, Submit

log = logging.getLogger(__name__)

BACKLOG = 16  # fronts that connect at once
# The host tries so often to send the backlog of a front that is behind in reading.
BEHIND_SECONDS = 0.005
IDLE_SECONDS = 0.25
_PEER = struct.Struct("3i")  # process, user, group

MakeEngine = Callable[[Observer], ThreadEngine]


class EngineHost:
    """Serves fronts at a unix socket: `run` in a thread of its own, until `close`.

    `path` is a name in the abstract namespace, which leaves no file behind; only this user may connect.
    That thread calls `on_tick` about four times a second.
    """

    def __init__(
        self,
        path: str,
        make_engine: MakeEngine,
        *,
        observer: Observer | None = None,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)
        self._on_tick = on_tick
        # Replaced, never changed: other threads iterate over it.
        self._fronts: list[_FrontLink] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._woken, self._waker = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, self._woken)
        self._closing = False
        self.watch = StepWatch()
        self.engine = make_engine(_StepObserver(self, observer or Observer()))

    def run(self) -> None:
        """Serves until `close`; then the engine answers what it accepted and ends."""
        ticked = time.monotonic()
        while not self._closing:
            self._turn()
            if time.monotonic() - ticked >= IDLE_SECONDS:
                ticked = time.monotonic()
                self._on_tick()
        self.engine.close()
        for front in self._fronts:
            front.link.close()
        self._selector.close()
        for sock in (self._listener, self._woken, self._waker):
            sock.close()

    def _turn(self) -> None:
        """A function of its own, so that no variable keeps the memory of a front that is gone."""
        behind = any(front.backlog for front in self._fronts)
        for key, _ in self._selector.select(BEHIND_SECONDS if behind else IDLE_SECONDS):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.data, _FrontLink):
                self._read(key.data)
        for front in self._fronts:
            front.catch_up()

    def close(self) -> None:
        """Makes `run` end. Any thread may call it."""
        self._closing = True
        self._waker.send(b"x")

    def show(self, *steps: Sequence[Item]) -> None:
        """Shows every front the queue and, if steps are given, the front's own texts in them."""
        state = self.engine.state()
        for front in self._fronts:
            front.link.board.show(front.seen, state.queued_tokens, state.token_rate)
        if not steps:
            return
        by_front: dict[_FrontLink, list[tuple[int, int]]] = defaultdict(list)
        for item in itertools.chain(*steps):
            assert isinstance(item.owner, _FrontSubmission)
            by_front[item.owner.front].append((item.owner.number, item.index))
        for front in self._fronts:
            front.link.board.show_running(by_front.get(front, []))

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        try:
            _check_peer(sock)
            front = _FrontLink(Link.accept(sock), self.engine)
        except (OSError, LinkClosed):
            sock.close()
            return
        self._selector.register(front.link, selectors.EVENT_READ, front)
        self._fronts = [*self._fronts, front]
        self.show()

    def _read(self, front: "_FrontLink") -> None:
        try:
            front.read()
        except LinkClosed:
            self._selector.unregister(front.link)
            self._fronts = [other for other in self._fronts if other is not front]
            front.lost()
        self.show()


def _check_peer(sock: socket.socket) -> None:
    """Raises PermissionError unless the other side runs as this user."""
    _, user, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if user != os.getuid():
        raise PermissionError


class StepWatch:
    """The steps under way, and how long the engine has been at the first, for the watchdog."""

    def __init__(self) -> None:
        self._steps: deque[Sequence[Item]] = deque()  # at most the runner's depth
        self._since = 0.0

    def begun(self, items: Sequence[Item]) -> list[Sequence[Item]]:
        """Notes that a step of these texts begins; returns all steps under way."""
        if not self._steps:
            self._since = time.monotonic()
        self._steps.append(items)
        return list(self._steps)

    def ended(self) -> None:
        if self._steps:
            self._steps.popleft()
        self._since = time.monotonic()  # the next had waited for it

    def busy_seconds(self) -> float:
        return time.monotonic() - self._since if self._steps else 0.0


class _StepObserver(Observer):
    """Shows the engine's steps to the fronts and the watchdog, and passes each call on."""

    def __init__(self, host: EngineHost, other: Observer) -> None:
        self._host = host
        self._other = other

    def accepted(self, texts: int) -> None:
        self._other.accepted(texts)

    def queue(self, tokens: int, token_rate: float) -> None:
        self._other.queue(tokens, token_rate)

    def begun(self, items: Sequence[Item]) -> None:
        self._host.show(*self._host.watch.begun(items))
        self._other.begun(items)

    def failed(self) -> None:
        self._host.watch.ended()
        self._other.failed()

    def ended(self, items: Sequence[Item], waits: Sequence[float], seconds: float) -> None:
        self._host.watch.ended()
        self._other.ended(items, waits, seconds)

    def dropped(self, reason: str, texts: int) -> None:
        self._other.dropped(reason, texts)


class _FrontSubmission(Submission):
    """A submission of a front. `left` texts of it are not answered."""

    __slots__ = ("front", "left", "number")

    front: "_FrontLink"
    number: int
    left: int


class _FrontLink:
    """A connected front, and its submissions that are not answered."""

    def __init__(self, link: Link, engine: ThreadEngine) -> None:
        self.link = link
        self.seen = 0
        self.backlog: deque[Encoded] = deque()  # bounded by the accepted texts
        self._engine = engine
        self._open: dict[int, _FrontSubmission] = {}
        self._sending = threading.RLock()

    def read(self) -> None:
        """Raises LinkClosed."""
        for body, payload in self.link.receive():
            match messages.decode(body, payload):
                case Submit() as message:
                    self._submit(message)
                case Cancel(number):
                    if cancelled := self._open.pop(number, None):
                        self._engine.cancel(cancelled)

    def _submit(self, message: Submit) -> None:
        number, sequences = message.number, message.sequences
        submission = _FrontSubmission(
            # By its number. A submission that refers to itself would live until the next garbage
            # collection, and with it the memory that is shared with its front.
            partial(self._deliver, number),
            deadline=message.deadline,
            priority=message.priority,
            caller=message.caller,
            flow=message.flow,
            bulk=message.bulk,
            alone=message.alone,
            output=message.output,
        )
        submission.front, submission.number, submission.left = self, number, len(sequences)
        self._open[number] = submission
        try:
            self._engine.submit(sequences, submission)
        except REFUSALS as error:
            self._deliver(number, Results(list(range(len(sequences))), None, error, None))
        self.seen = number

    def _deliver(self, number: int, results: Results) -> None:
        with self._sending:  # texts of one submission may end in several threads
            if (submission := self._open.get(number)) is None:
                return  # cancelled
            submission.left -= len(results.indices)
            if not submission.left:
                self._open.pop(number, None)
            for answer in messages.answers(number, results):
                self._send(answer)

    def _send(self, answer: Answer) -> None:
        """Sends the answer now, or puts it behind the backlog."""
        with self._sending, contextlib.suppress(LinkClosed):
            body, payload = answer.encode()
            if self.backlog or not self.link.send(body, *payload):
                self.backlog.append((body, payload))

    def catch_up(self) -> None:
        with self._sending, contextlib.suppress(LinkClosed):
            self.link.flush()
            while self.backlog:
                body, payload = self.backlog[0]
                if not self.link.send(body, *payload):
                    return
                self.backlog.popleft()

    def lost(self) -> None:
        """The front is gone: cancels its submissions."""
        self.link.close()
        self.backlog.clear()
        for submission in list(self._open.values()):
            self._engine.cancel(submission)
        self._open.clear()
