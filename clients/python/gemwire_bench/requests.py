"""Builds the messages of a schedule's calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gemwire.v1 import embedding_pb2 as pb
from gemwire_bench.mix import TrafficClass
from gemwire_bench.schedule import TASK_NUMBERS, Schedule
from gemwire_bench.texts import Source
from gemwire_client.requests import TASKS


@dataclass(frozen=True, slots=True)
class Content:
    """The material of texts. `lines` holds the lines of each file that a class names.

    `longest` is the most tokens of a text that the server takes, without prompt and special tokens.
    """

    source: Source
    lines: Mapping[str, Sequence[str]]
    longest: int


class Requests:
    """Builds call i of a schedule."""

    def __init__(
        self, schedule: Schedule, classes: Sequence[TrafficClass], content: Content
    ) -> None:
        self._schedule = schedule
        self._classes = classes
        self._content = content
        # Plain ints: numpy's are slow to take one by one.
        self._first = schedule.first.tolist()
        self._tokens = schedule.tokens.tolist()
        self._place = schedule.place.tolist()
        self._kind = schedule.kind.tolist()
        self._options = {
            (kind, task): options(one, TASK_NUMBERS[task])
            for kind, one in enumerate(classes)
            for task in set(schedule.task.tolist())
        }
        self._task = schedule.task.tolist()

    def inputs(self, call: int) -> list[pb.EmbedInput]:
        one = self._classes[self._kind[call]]
        texts = range(self._first[call], self._first[call + 1])
        if one.lines is not None:
            lines = self._content.lines[one.lines]
            return [pb.EmbedInput(text=lines[self._place[j] % len(lines)]) for j in texts]
        source, longest = self._content.source, self._content.longest
        return [
            pb.EmbedInput(text=source.text(min(self._tokens[j], longest), self._place[j]))
            for j in texts
        ]

    def unary(self, call: int) -> pb.EmbedRequest:
        return pb.EmbedRequest(input=self.inputs(call)[0], options=self.options(call))

    def batch(self, call: int) -> pb.BatchEmbedRequest:
        return pb.BatchEmbedRequest(inputs=self.inputs(call), options=self.options(call))

    def options(self, call: int) -> pb.EmbedOptions:
        return self._options[self._kind[call], self._task[call]]


def options(one: TrafficClass, task: str | None) -> pb.EmbedOptions:
    """Options that ask for the server's timing, and to cut a text that came out a little too long."""
    return pb.EmbedOptions(
        task=None if task is None else TASKS[task],
        truncation=pb.TRUNCATION_END,
        priority=one.priority,
        include_timing=True,
    )
