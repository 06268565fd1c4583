"""Values of JSON are counted as a parser counts them, without parsing."""

import json
import random
import time
from typing import Any

import pytest

from gemwire_server.fronts.http.json_values import SMALL_BYTES, has_too_many_values

PADDING = " " * SMALL_BYTES


def count(value: Any) -> int:
    """Values and keys, each an object of Python once parsed."""
    if isinstance(value, dict):
        return 1 + sum(1 + count(each) for each in value.values())
    if isinstance(value, list):
        return 1 + sum(map(count, value))
    return 1


def random_value(source: random.Random, depth: int) -> Any:
    kind = source.randrange(6 if depth else 4)
    if kind == 4:
        return [random_value(source, depth - 1) for _ in range(source.randrange(6))]
    if kind == 5:
        return {
            random_text(source): random_value(source, depth - 1) for _ in range(source.randrange(6))
        }
    return source.choice([None, 1.5, random_text(source), random_text(source)])


def random_text(source: random.Random) -> str:
    return "".join(source.choices('ab,:[]{}"\\/\n\u00fc', k=source.randrange(12)))


@pytest.mark.parametrize("seed", range(200))
def test_random_values_are_counted(seed: int) -> None:
    value = [random_value(random.Random(seed), 4), []]
    raw = (json.dumps(value, ensure_ascii=bool(seed % 2)) + PADDING).encode()
    real = count(value)
    assert not has_too_many_values(raw, real + count_of_empty(value))
    assert has_too_many_values(raw, real - 1)


def count_of_empty(value: Any) -> int:
    """Empty containers: the count takes each for one value more."""
    if isinstance(value, dict):
        return not value or sum(map(count_of_empty, value.values()))
    if isinstance(value, list):
        return not value or sum(map(count_of_empty, value))
    return 0


def test_a_small_body_is_not_counted() -> None:
    assert not has_too_many_values(b"[" + b"1," * 1000 + b"1]", 10)


@pytest.mark.parametrize("item", [b"[]", b'""', b'"a"', b"1", b"{}", b'"\\""'])
def test_large_bodies_are_counted_quickly(item: bytes) -> None:
    raw = b"[" + (item + b",") * (2**24 // (len(item) + 1)) + item + b"]"
    began = time.thread_time()
    assert has_too_many_values(raw, 65536)
    assert time.thread_time() - began < 0.5  # 1 s and more to parse the first
