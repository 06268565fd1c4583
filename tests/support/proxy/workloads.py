"""Work through a proxy that goes on until it is stopped, and that checks every answer."""

import asyncio
import itertools
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemwire_client import AsyncClient, Client
from support.calling import command
from uninstalled import environment

TEXTS = [f"text number {i} " + "word " * (i % 7) for i in range(97)]
PART = 13  # texts of one BatchEmbed
TARGETS = TEXTS[:5]
WAIT = 60.0
# Bytes. More than a few full pipes must have been read by the command, and not by buffers alone.
PIPE = 4096


class Right:
    """The right answers, from a server without a proxy."""

    def __init__(self, address: str) -> None:
        with Client(address) as client:
            self.model = client.model()
            self.vectors = client.embed(TEXTS)
            self.ids = client.tokenize(TEXTS[0])
            self.scores = client.similarity(TEXTS[0], TARGETS)

    def check(self, method: str, answer: Any, index: int) -> None:
        """Asserts that the answer to the call or text of that number is right."""
        match method:
            case "GetModel":
                wanted: Any = self.model.revision
                answer = answer.revision
            case "BatchEmbed":
                wanted = self.vectors[:PART]
            case "ComputeSimilarity":
                wanted = self.scores
            case "Tokenize":
                wanted = self.ids
            case _:
                wanted = self.vectors[index % len(TEXTS)]
        np.testing.assert_array_equal(answer, wanted)


def unary(client: Any) -> dict[str, Callable[[int], Any]]:
    """A call of each unary method; the number is the text's."""

    def model(_: int) -> Any:
        client._model = None
        return client.model()

    return {
        "GetModel": model,
        "Embed": lambda i: client.embed(TEXTS[i % len(TEXTS)]),
        "BatchEmbed": lambda _: client.embed(TEXTS[:PART]),
        "ComputeSimilarity": lambda _: client.similarity(TEXTS[0], TARGETS),
        "Tokenize": lambda _: client.tokenize(TEXTS[0]),
    }


METHODS = (*unary(None), "EmbedStream")


class Workloads:
    """Runs every method of both clients, and `gemwire embed`. `answers` counts the right ones, and of the
    command the bytes that it took, for it shows its answers at the end."""

    def __init__(self, address: str, right: Right, folder: Path) -> None:
        self.answers: dict[str, int] = {}
        self._address = address
        self._right = right
        self._output = folder / "out.npy"
        self._ending = threading.Event()
        self._tasks: list[Future[None]] = []

    def start(self, stack: ExitStack) -> None:
        pool = ThreadPoolExecutor(16)
        stack.callback(pool.shutdown)
        stack.callback(self._ending.set)
        client = stack.enter_context(Client(self._address))
        for method, call in unary(client).items():
            self._tasks.append(pool.submit(self._repeat, method, call))
        self._tasks.append(pool.submit(self._stream, client))
        self._tasks.append(pool.submit(lambda: asyncio.run(self._all_async())))
        self._tasks.append(pool.submit(self._command))

    def end(self) -> None:
        """Stops all work. Raises the first error of any."""
        self._ending.set()
        for task in self._tasks:
            task.result(WAIT)

    def wait(self, count: int = 3) -> None:
        """Until every method has given so many more answers; raises what goes wrong meanwhile."""
        before = dict(self.answers)
        names = [f"{kind} {method}" for kind in ("sync", "asyncio") for method in METHODS]
        names.append("gemwire embed")
        give_up = time.monotonic() + WAIT
        while any(self.answers.get(name, 0) < before.get(name, 0) + count for name in names):
            for task in self._tasks:
                if task.done():
                    task.result()
            assert time.monotonic() < give_up, f"before {before}, now {self.answers}"
            time.sleep(0.02)

    def _texts(self) -> Iterator[str]:
        for text in itertools.cycle(TEXTS):
            if self._ending.is_set():
                return
            yield text

    def _count(self, kind: str, method: str, answer: Any) -> None:
        name = f"{kind} {method}"
        count = self.answers.get(name, 0)
        self._right.check(method, answer, count)
        self.answers[name] = count + 1

    def _repeat(self, method: str, call: Callable[[int], Any]) -> None:
        for number in itertools.count():
            if self._ending.is_set():
                return
            self._count("sync", method, call(number))

    def _stream(self, client: Client) -> None:
        sent = 0

        def texts() -> Iterator[str]:
            nonlocal sent
            for text in self._texts():
                sent += 1
                yield text

        for vector in client.embed_iter(texts()):
            self._count("sync", "EmbedStream", vector)
        assert self.answers["sync EmbedStream"] == sent, "each text has its answer, and once"

    async def _all_async(self) -> None:
        async with AsyncClient(self._address) as client:

            async def repeat(method: str, call: Callable[[int], Any]) -> None:
                for number in itertools.count():
                    if self._ending.is_set():
                        return
                    self._count("asyncio", method, await call(number))

            async def stream() -> None:
                async for vector in client.embed_iter(self._texts()):
                    self._count("asyncio", "EmbedStream", vector)

            async with asyncio.TaskGroup() as group:
                for method, call in unary(client).items():
                    group.create_task(repeat(method, call))
                group.create_task(stream())

    def _command(self) -> None:
        arguments = ["embed", "-", "-o", str(self._output), "--server", self._address]
        process = subprocess.Popen(
            command(*arguments),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
            pipesize=PIPE,
        )
        assert process.stdin is not None
        sent = size = 0
        try:
            for text in self._texts():
                size += process.stdin.write(text + "\n")
                sent += 1
                self.answers["gemwire embed"] = max(0, size - 8 * PIPE)
        except BrokenPipeError:
            pass  # it ended too early, and says why
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
        found: NDArray[np.float32] = np.load(self._output)
        assert len(found) == sent
        for index, vector in enumerate(found):
            self._right.check("gemwire embed", vector, index)
        self.answers["gemwire embed"] = sent


@contextmanager
def working(address: str, right: Right, folder: Path) -> Iterator[Workloads]:
    with ExitStack() as stack:
        work = Workloads(address, right, folder)
        work.start(stack)
        yield work
