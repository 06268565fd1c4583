"""A headless Chromium, driven through its debugging protocol."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
WAIT = 30.0
STARTER = """
import os, sys
# The protocol's pipes are descriptors 3 and 4, which either pipe may be already.
pipes = [os.dup2(int(number), 100 + i) for i, number in enumerate(sys.argv[1:3])]
for number, pipe in enumerate(pipes, 3):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
    """An open page. Chromium reads commands from one pipe and writes answers to another, each ended by a
    zero byte."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to_browser, self._from_browser = to_browser, from_browser
        self._read = b""
        self._count = 0
        self._session = ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.events: list[dict[str, Any]] = []
        """What the page has reported, such as its log entries."""
        self._call("Log.enable")
        self._call("Runtime.enable")
        self._call("Page.enable")

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript in the page; a promise is awaited."""
        found = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """The value, once it is true."""
        deadline = time.monotonic() + WAIT
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"never true: {expression}; {self.events}"
            time.sleep(0.02)
        return value

    def _call(self, method: str, **params: Any) -> Any:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            if self._session:
                self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            part = os.read(self._from_browser, 65536)
            assert part, "the browser has ended"
            self._read += part
        raw, _, self._read = self._read.partition(b"\0")
        found: dict[str, Any] = json.loads(raw)
        return found


@contextmanager
def browser_page(profile: Path) -> Iterator[Page]:
    """A page of a new browser; `profile` is an empty folder. Skips the test where no Chromium is found."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("Chromium is not installed")
    to_browser, from_browser = os.pipe(), os.pipe()
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            STARTER,
            str(to_browser[0]),
            str(from_browser[1]),
            program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ],
        pass_fds=(to_browser[0], from_browser[1]),
        stderr=subprocess.DEVNULL,
    )
    try:
        os.close(to_browser[0])
        os.close(from_browser[1])
        yield Page(to_browser[1], from_browser[0])
    finally:
        process.kill()
        process.wait()
        os.close(to_browser[1])
        os.close(from_browser[0])
