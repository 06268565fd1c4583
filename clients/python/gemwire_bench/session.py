"""Puts a measurement together: the texts, the workers, the golden sample, the table."""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from gemwire.v1 import embedding_pb2 as pb
from gemwire_bench import sender, texts
from gemwire_bench.environment import environment
from gemwire_bench.files import read_lines
from gemwire_bench.golden import Golden
from gemwire_bench.live import live
from gemwire_bench.measure import Measurement
from gemwire_bench.mix import TrafficClass
from gemwire_bench.requests import Content
from gemwire_bench.run import workers as started
from gemwire_bench.schedule import TASK_NUMBERS
from gemwire_bench.target import Asked, Target
from gemwire_client.requests import TASKS


def on_server(
    measurement: Measurement,
    target: Target,
    *,
    corpus: Path | None,
    golden: Path | None,
    write_golden: IO[bytes] | None,
    workers: int,
    connections: int,
    label: str,
) -> dict[str, Any] | None:
    """The result of a run against a server; None if only a golden sample was to be written.

    Raises GemwireError for what the server refuses, ValueError or OSError for files, WorkerFailed.
    """
    with Asked(target) as asked:
        model = asked.model()
        truth = Golden.read(golden) if golden else Golden.ask(asked)
        if write_golden is not None:
            write_golden.write(truth.to_json().encode())
            return None
        content = _content(asked, measurement.plan.classes, corpus, measurement.plan.seed)
        facts = {"label": label, "environment": environment(target.address, model)}
        size = model.default_dimensions or model.dimensions
        arguments = (target, content, size, connections)
        with started(workers, sender.main, *arguments) as sending, live() as (watch, on_step):
            return measurement.run(
                sending, asked=asked, golden=truth, watch=watch, on_step=on_step, facts=facts
            )


def in_process(
    measurement: Measurement, main: Callable[..., None], *arguments: object, label: str
) -> dict[str, Any]:
    """The result of an engine that runs in the sending process, without a server.

    That process runs `main(pipe, *arguments)`, a function of a module, which sends the bytes of a
    `pb.Model` and then serves jobs (`worker.serve`). Raises WorkerFailed.
    """
    with started(1, main, *arguments) as sending:
        model = pb.Model.FromString(sending.news)
        facts = {"label": label, "environment": environment("in process", model)}
        with live() as (watch, on_step):
            return measurement.run(
                sending, asked=None, golden=None, watch=watch, on_step=on_step, facts=facts
            )


def _content(
    asked: Asked, classes: tuple[TrafficClass, ...], corpus: Path | None, seed: int
) -> Content:
    model = asked.model()
    if corpus is not None:
        source = texts.corpus(asked.tokenize, read_lines(corpus))
    else:
        source = texts.vocabulary(
            asked.tokenize, model.vocabulary_size, model.max_input_tokens, seed
        )
    lines = {}
    for path in {one.lines for one in classes if one.lines is not None}:
        found = [line.strip() for line in read_lines(Path(path))]
        lines[path] = tuple(line for line in found if line)
        if not lines[path]:
            raise ValueError(f"{path}: has no text")
    # A trace may name any task.
    named = {one.task for one in classes}
    if any(one.arrivals.startswith("trace:") for one in classes):
        named = set(TASK_NUMBERS)
    extra = max(
        texts.overhead(asked.tokenize, None if task is None else TASKS[task]) for task in named
    )
    return Content(source, lines, max(1, model.max_input_tokens - extra))
