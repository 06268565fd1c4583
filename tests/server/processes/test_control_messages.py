"""Every message of the control channel arrives as it was sent."""

import dataclasses
import random
from typing import Any

import pytest

from gemwire_server.processes import control_messages
from gemwire_server.processes.control_messages import ControlMessage, decode, encode

TYPES: tuple[type[ControlMessage], ...] = ControlMessage.__args__


def _value(kind: Any, rng: random.Random) -> Any:
    text = "".join(rng.choices('aé"\n\\\u2028{}', k=rng.randint(0, 9)))
    return {
        str: text,
        int: rng.randint(0, 2**40),
        float: rng.random() * 1000,
        bool: rng.random() < 0.5,
        list[str]: [text] * rng.randint(0, 3),
        dict[str, Any]: {"a": text, "b": [1, None], "c": {"d": 0.5}},
    }[kind]


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_a_message_survives_its_line(kind: type[ControlMessage]) -> None:
    rng = random.Random(kind.__name__)
    for _ in range(50):
        values = {field.name: _value(field.type, rng) for field in dataclasses.fields(kind)}
        message = kind(**values)
        line = encode(message)
        assert line.count(b"\n") == 1 and line.endswith(b"\n")
        assert decode(line) == message and type(decode(line)) is kind


def test_every_message_is_in_the_table() -> None:
    declared = {
        each
        for each in vars(control_messages).values()
        if dataclasses.is_dataclass(each) and each is not control_messages.ChildStart
    }
    assert declared == set(TYPES)
