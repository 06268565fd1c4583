"""The time of a call beyond that of its step."""

import os
import subprocess
import sys

import numpy as np
from numpy.typing import NDArray

from faults.load import Outcomes, closed_loop, connected, embed
from faults.marked import marked
from faults.under_test import UnderTest
from uninstalled import ROOT, environment

TOKENS = 64
WARM_UP = 200


async def overhead(server: UnderTest, *, calls: int) -> NDArray[np.float64]:
    """Seconds of each call, but for those that its step took: one caller, one call after the other."""
    async with connected(server.address) as stub:
        call = embed(stub, lambda number: marked(number, TOKENS))
        outcomes: Outcomes = await closed_loop(call, 1, calls=calls + WARM_UP)
    assert set(outcomes.codes()) == {"OK"}, outcomes.codes()
    steps = server.controls.computed()
    inside = dict(
        zip(steps["text"].tolist(), (steps["ended"] - steps["began"]).tolist(), strict=True)
    )
    return np.array([one.latency - inside[one.number] for one in outcomes.all[WARM_UP:]])


async def bare(*, calls: int) -> NDArray[np.float64]:
    """Seconds of each call to a server on grpc.aio that does nothing, by the same caller."""
    environ = environment()
    environ["PYTHONPATH"] += f"{os.pathsep}{ROOT / 'tests'}"
    command = [sys.executable, "-m", "faults.bare_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            async with connected(address) as stub:
                call = embed(stub, lambda number: marked(number, TOKENS))
                outcomes: Outcomes = await closed_loop(call, 1, calls=calls + WARM_UP)
        finally:
            process.terminate()
    assert set(outcomes.codes()) == {"OK"}, outcomes.codes()
    return np.array([one.latency for one in outcomes.all[WARM_UP:]])
