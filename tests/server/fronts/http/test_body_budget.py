"""The memory of bodies: large ones have a limit together, small ones always pass."""

import time
from contextlib import ExitStack

import pytest

from gemwire_server.errors import Overloaded
from gemwire_server.fronts.http.body_budget import FREE_BYTES, LARGEST_BODIES, BodyBudget
from support.harness import Served
from support.http_front import connected, post


def test_bodies_share_the_budget_and_give_it_back() -> None:
    budget = BodyBudget(100)
    first, second, small = budget.body(), budget.body(), budget.body()
    first.grow_to(FREE_BYTES + 30)
    first.grow_to(FREE_BYTES + 60)
    with pytest.raises(Overloaded):
        second.grow_to(FREE_BYTES + 41)
    second.grow_to(FREE_BYTES + 40)
    small.grow_to(FREE_BYTES)
    with pytest.raises(Overloaded):
        small.grow_to(FREE_BYTES + 1)
    first.close()
    small.grow_to(FREE_BYTES + 60)
    second.close()
    small.close()
    small.close()
    budget.body().grow_to(FREE_BYTES + 100)


def test_where_large_bodies_wait_small_ones_pass(served: Served) -> None:
    body = b"[" + b" " * (2**20 - 2) + b"]"
    unfinished = body[:-1]
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(served.http_address)) for _ in range(LARGEST_BODIES)]
        for each in slow:
            each.send(f"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n")
            each.send(unfinished)
        time.sleep(0.5)
        reply = post(served.http_address, "/echo", body)
        assert (reply.status, reply.json()["reason"]) == (429, "TOO_MANY_BYTES")
        assert int(reply.headers["retry-after"]) >= 1
        assert reply.headers["connection"] == "close"
        assert post(served.http_address, "/echo", b"[1]").status == 200
        for each in slow:
            each.send(b"]")
            assert each.reply().body == b"[]"
    assert post(served.http_address, "/echo", body).status == 200
