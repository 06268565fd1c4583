"""What a call takes besides its step."""

import numpy as np
from numpy.typing import NDArray

from faults.load import Outcomes, closed_loop, connected, embed
from faults.marked import marked
from faults.under_test import UnderTest

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
