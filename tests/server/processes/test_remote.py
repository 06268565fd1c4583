"""What a front refuses by what it knows of an engine, and what the engine itself would."""

import os
import secrets
import socket
import time

import numpy as np

from gemwire_server.engine.admission import CAUTION
from gemwire_server.engine.interface import Submission
from gemwire_server.engine.scheduler import Scheduler
from gemwire_server.errors import Overloaded
from gemwire_server.processes.link import Link
from gemwire_server.processes.remote import RemoteEngine, RemoteSubmission
from support.engines import ids

LIMIT = 1000


def outcome(
    engine: Scheduler | RemoteEngine, coming: int, guess: int, caller: int, at: float | None
) -> object:
    try:
        engine.check_room(coming, guess, caller=caller, deadline=at)
    except Overloaded as error:
        return error.reason, error.message, error.retry_after, error.metadata
    return None


def test_a_front_and_the_scheduler_refuse_alike_on_equal_figures() -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    seen = set[object]()
    for _ in range(60):
        scheduler = Scheduler(max_batch_tokens=50, max_queue_tokens=LIMIT, clock=time.monotonic)
        if random.random() < 0.8:
            scheduler.throughput.ended(50, float(random.uniform(0.05, 0.5)))
        path = f"\0gemwire-test-{secrets.token_hex(8)}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            remote = RemoteEngine(
                0,
                path,
                max_queue_tokens=LIMIT,
                result_ring_bytes=1 << 16,
                on_results=lambda part, results: None,
            )
            host = Link.accept(listener.accept()[0])
        number = 0
        for caller in range(1, 4):
            for tokens in random.integers(1, 200, random.integers(0, 3)).tolist():
                submission = Submission(print, caller=caller)
                try:
                    scheduler.add(submission, [ids(1, tokens)])
                except Overloaded:
                    continue
                remote.submit(RemoteSubmission(submission, [0], [ids(1, tokens)]))
                number += 1
        host.board.show(number, scheduler.queued_tokens, scheduler.token_rate or 0.0)
        for _ in range(20):
            caller = int(random.integers(1, 5))
            guess = int(random.integers(1, 400))
            coming = int(random.integers(0, 200)) * int(random.integers(2))
            deadline = None
            if random.random() < 0.7:
                # Far enough from the border that the time between the two calls does not matter.
                held = scheduler._callers[caller].tokens if caller in scheduler._callers else 0
                border = (held + guess) / (scheduler.token_rate or 1000.0) / CAUTION
                factor = random.choice([-1.0, random.uniform(0.2, 0.8), random.uniform(1.5, 3.0)])
                deadline = time.monotonic() + float(factor * border)
            expected = outcome(scheduler, coming, guess, caller, deadline)
            assert outcome(remote, coming, guess, caller, deadline) == expected
            seen.add(expected[0] if isinstance(expected, tuple) else None)
        remote.close()
        host.close()
    assert seen == {None, "QUEUE_FULL", "CALLER_QUEUE_FULL", "DEADLINE_UNREACHABLE"}
