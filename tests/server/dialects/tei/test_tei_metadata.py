"""The cost of answers, and the headers that say it."""

from gemwire_server.dialects.tei.metadata import Metadata
from gemwire_server.service.results import Timing


def test_times_of_a_batch_and_headers() -> None:
    """The time of tokenizing is the average of a text; headers have whole milliseconds, cut."""
    timing = Timing(
        tokenize_seconds=0.003,
        queue_seconds=0.0019,
        compute_seconds=1.5,
        total_seconds=2.0,
        batch_texts=9,
        batch_tokens=99,
    )
    cost = Metadata.of(40, [3, 4, 5], timing)
    assert cost == Metadata(
        characters=40,
        tokens=12,
        total_ns=2_000_000_000,
        tokenization_ns=1_000_000,
        queue_ns=1_900_000,
        inference_ns=1_500_000_000,
    )
    assert cost.headers() == {
        "x-compute-type": "gpu+optimized",
        "x-compute-time": "2000",
        "x-compute-characters": "40",
        "x-compute-tokens": "12",
        "x-total-time": "2000",
        "x-tokenization-time": "1",
        "x-queue-time": "1",
        "x-inference-time": "1500",
    }
