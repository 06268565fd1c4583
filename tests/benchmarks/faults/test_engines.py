"""Engines behind one front share the work. When one ends, only what it was computing is refused."""

import asyncio
import os
import signal
from pathlib import Path

from faults.health import SERVING, watched
from faults.load import Outcomes, closed_loop, connected, embed
from faults.marked import marked
from faults.under_test import UnderTest, check_books, under_test

STEP_SECONDS = 0.02


def test_engines_share_the_work_and_outlive_each_other(tiny_checkpoint: Path) -> None:
    flags = ("--devices", "0,1", "--max-batch-tokens", "16")
    with under_test(tiny_checkpoint, *flags, settings={"step_seconds": STEP_SECONDS}) as server:
        assert len(server.engine_pids()) == 2
        outcomes, said = asyncio.run(load_while_one_is_killed(server))
        assert set(outcomes.codes()) <= {"OK", "UNAVAILABLE ENGINE_RESTARTING"}
        assert 0 <= len(outcomes.of("UNAVAILABLE")) <= 1  # a step holds one text
        assert set(said) == {SERVING}, "with an engine left it serves"
        steps = server.controls.computed()
        order = steps["began"].argsort()
        began, ended = steps["began"][order], steps["ended"][order]
        assert (began[1:] < ended[:-1]).sum() > 20, "two at a time"
        check_books(server)


async def load_while_one_is_killed(server: UnderTest) -> tuple[Outcomes, list[int]]:
    """The calls' outcomes, and the states that the health service reported."""
    async with connected(server.address) as stub, watched(server.address) as health:
        call = embed(stub, lambda number: marked(number, 16), 30.0)
        loading = asyncio.create_task(closed_loop(call, 8, calls=300))
        await asyncio.sleep(0.5)
        os.kill(server.engine_pids()[0], signal.SIGKILL)
        outcomes = await loading
        while len(server.engine_pids()) < 2:
            await asyncio.sleep(0.05)
        return outcomes, [status for _, status in health.reports]
