"""The sender of `gemwire bench --in-process`: an engine in the sending process, without a server.

A call becomes a submission to the engine, so batching and queueing are those of a server; only the
transport is missing. Token ids are drawn at random, for their values do not change their cost.
"""

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection

import numpy as np

from gemwire_bench.samples import NONE, Samples
from gemwire_bench.schedule import Schedule
from gemwire_bench.worker import Job, serve
from gemwire_server.checkpoints import open_configured
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.interface import Results, Submission
from gemwire_server.engine.packing import TokenIds
from gemwire_server.engine.thread_engine import ThreadEngine
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.grpc.gemwire_v1.model import describe
from gemwire_server.runners.loading import load

IDS = 1 << 16
"""Length of the row of ids that texts are cut from."""


def main(pipe: Connection, config: ServerConfig, seed: int) -> None:
    """Sends the loaded model, as the bytes of a Model; then runs jobs until None comes."""
    loaded = load(open_configured(config), config)
    pipe.send(describe(loaded.model, loaded.config).SerializeToString())
    engine = ThreadEngine(
        loaded.runner,
        max_batch_tokens=loaded.config.max_batch_tokens,
        max_queue_tokens=loaded.config.max_queue_tokens,
    )
    ids = np.random.default_rng(seed).integers(0, loaded.model.vocabulary_size, IDS, np.int32)
    longest = loaded.model.max_tokens
    try:
        asyncio.run(serve(pipe, partial(EngineSender, engine, ids, longest)))
    finally:
        engine.close()


class EngineSender:
    """Satisfies `worker.Sender`."""

    def __init__(self, engine: ThreadEngine, ids: TokenIds, longest: int) -> None:
        """Sequences are cut from `ids`, at most `longest` tokens each."""
        self.engine = engine
        self._ids = np.concatenate([ids, ids[:longest]])
        self._longest = longest

    def cpu_seconds(self) -> float:
        return time.thread_time()  # the engine's threads are what is measured

    async def close(self) -> None:
        pass

    async def begin(self, job: Job, samples: Samples) -> "EngineJob":
        return EngineJob(self, job, samples)

    def sequences(self, schedule: Schedule, call: int) -> list[TokenIds]:
        texts = range(int(schedule.first[call]), int(schedule.first[call + 1]))
        lengths = [min(int(schedule.tokens[j]), self._longest) for j in texts]
        starts = [int(schedule.place[j]) % IDS for j in texts]
        return [
            self._ids[start : start + length] for start, length in zip(starts, lengths, strict=True)
        ]


class EngineJob:
    """The calls of one job; a call is a submission. Satisfies `worker.JobSender`.

    A sample of a stream's message is a text, as it is where a server is measured.
    """

    def __init__(self, sender: EngineSender, job: Job, samples: Samples) -> None:
        self._sender = sender
        self._job = job
        self._samples = samples

    def message(self, call: int) -> list[TokenIds]:
        return self._sender.sequences(self._job.schedule, call)

    async def finish(self) -> None:
        """Waits for nothing: the engine answers every submission."""

    async def send(self, call: int, message: list[TokenIds], due: int) -> None:
        job = self._job
        begun = job.now()
        kind = int(job.schedule.kind[call])
        deadline = (job.start + due + int(job.schedule.deadline[call])) / 1e9
        answers = _Answers(len(message))
        submission = Submission(answers.deliver, deadline, priority=job.classes[kind].priority)
        try:
            self._sender.engine.submit(message, submission)
        except GemwireError as error:
            answers.take(Results(list(range(len(message))), None, error, None), time.monotonic_ns())
        await answers.ended
        counts = [len(sequence) for sequence in message]
        single = job.classes[kind].mode == "stream"
        for answer in answers.each() if single else [answers.whole()]:
            self._samples.add(
                kind=kind, code=answer.code, due=due, begun=begun, sent=begun,
                ended=answer.ended - job.start, queue=answer.queue, compute=answer.compute,
                texts=answer.texts, good=len(answer.good),
                tokens=sum(counts[i] for i in answer.good),
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer to one text or several; `good` are those that got vectors. Times in nanoseconds."""

    code: str
    ended: int
    queue: int
    compute: int
    texts: int
    good: list[int]


class _Answers:
    """Gathers the results of one submission, which the engine delivers from its thread."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._loop = asyncio.get_running_loop()
        self._parts: list[tuple[Results, int]] = []
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def deliver(self, results: Results) -> None:
        """The engine's thread calls this."""
        self._loop.call_soon_threadsafe(self.take, results, time.monotonic_ns())

    def take(self, results: Results, now: int) -> None:
        self._parts.append((results, now))
        self._left -= len(results.indices)
        if not self._left:
            self.ended.set_result(None)

    def each(self) -> list[_Answer]:
        """An answer a text."""
        return [
            _answer(results, now, [index])
            for results, now in self._parts
            for index in results.indices
        ]

    def whole(self) -> _Answer:
        """One answer for all texts: as late as the last, and as bad as the worst."""
        parts = [_answer(results, now, results.indices) for results, now in self._parts]
        return _Answer(
            next((part.code for part in parts if part.code != "OK"), "OK"),
            max(part.ended for part in parts),
            max(part.queue for part in parts),
            max(part.compute for part in parts),
            sum(part.texts for part in parts),
            [index for part in parts for index in part.good],
        )


def _answer(results: Results, now: int, indices: list[int]) -> _Answer:
    code = "OK" if results.error is None else results.error.code
    step = results.step
    queue, compute = NONE, NONE
    if step is not None:
        queue, compute = round(step.queue_seconds * 1e9), round(step.compute_seconds * 1e9)
    good = indices if results.vectors is not None else []
    return _Answer(code, now, queue, compute, len(indices), good)
