"""docs/refusals.md is true: each row is provoked over the wire, and each reason of the source has one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.marked import Fault, marked
from gemwire.v1 import embedding_pb2 as pb
from support.refusals import checks, connection, contests, texts, tokens, work
from support.refusals.observed import NONE, of_texts, refused
from support.refusals.provocations import BOTH, CONTESTS, PROVOCATIONS, Contest, Provocation
from support.refusals.reasons import UNREACHABLE, reasons_in_source
from support.refusals.servers import Servers, Stream, many, one
from support.refusals.table import ONE_TEXT, PAGE, WHOLE_CALL, Row, read_rows

# They register their provocations as they are imported.
REGISTERED = (checks, connection, contests, texts, tokens, work)
TEXT = PAGE.read_text()
ROWS: dict[tuple[str, str, str], Row] = {row.key: row for row in read_rows(TEXT)}


@pytest.fixture(scope="module")
def servers(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tiny_checkpoint, tmp_path_factory.mktemp("refusals")) as started:
        yield started


@pytest.mark.parametrize("provocation", PROVOCATIONS, ids=lambda one: one.name)
def test_a_row_is_true(servers: Servers, provocation: Provocation) -> None:
    expected = ROWS[provocation.key].refusal
    assert provocation.provoke(servers, provocation.engine) == expected


def test_every_row_is_provoked() -> None:
    assert {provocation.key for provocation in PROVOCATIONS} == set(ROWS)


@pytest.mark.parametrize("contest", CONTESTS, ids=lambda one: one.name)
def test_the_upper_row_is_met_first(servers: Servers, contest: Contest) -> None:
    winner, loser = ROWS[contest.winner], ROWS[contest.loser]
    assert contest.provoke(servers, "thread") == winner.refusal != loser.refusal
    assert (winner.place < loser.place) == contest.in_order


def test_the_tables_have_every_reason_of_the_source_and_no_other() -> None:
    patterns = reasons_in_source()
    in_tables = {row.refusal.reason for row in ROWS.values()} - {NONE}
    for pattern in patterns - UNREACHABLE:
        named = {reason for reason in in_tables if re.fullmatch(pattern, reason)}
        assert named - (patterns - {pattern}), f"{pattern} has no row"
    for reason in in_tables:
        assert any(re.fullmatch(pattern, reason) for pattern in patterns), f"nothing says {reason}"
    assert patterns >= UNREACHABLE and not in_tables & UNREACHABLE
    assert all(f"`{reason}`" in TEXT.partition("## Not over gRPC")[2] for reason in UNREACHABLE)


def test_the_error_of_one_text_is_that_of_a_call_that_has_one(servers: Servers) -> None:
    """The fields are those that the page names."""
    server, bad = servers.get(), pb.EmbedInput()
    row = ROWS[ONE_TEXT, "Tokenizer", "EMPTY_TEXT"].refusal
    source = pb.ComputeSimilarityRequest(source=bad, targets=[texts.GOOD, bad])
    calls = {
        "input": server.embedding.Embed.future(one(bad)),
        "input ": server.embedding.Tokenize.future(pb.TokenizeRequest(input=bad)),
        "source": server.embedding.ComputeSimilarity.future(source),
    }
    for field, call in calls.items():
        found = refused(call)
        assert (found.code, found.reason) == (row.code, row.reason)
        assert found.details == {f"BadRequest {field.strip()}.text"}
    stream = Stream(server.embedding)
    stream.batch(bad)
    (found_in_stream,) = of_texts(stream.results())
    stream.send(None)
    assert found_in_stream is not None and found_in_stream.reason == row.reason
    assert found_in_stream.details == {"BadRequest batch.inputs[0].text"}


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.parametrize("fault", [Fault.RAISE, Fault.NAN])
def test_a_source_that_the_engine_fails_at_fails_the_call(
    servers: Servers, fault: Fault, engine: str
) -> None:
    row = ROWS[ONE_TEXT, "Engine", "POISON_INPUT"].refusal
    request = pb.ComputeSimilarityRequest(
        source=marked(0, fault=fault), targets=[texts.GOOD, pb.EmbedInput()]
    )
    server = servers.get(engine=engine)
    assert refused(server.embedding.ComputeSimilarity.future(request)) == row


def test_options_and_inputs_have_the_fields_that_the_page_names(servers: Servers) -> None:
    server = servers.get()
    bad = pb.EmbedOptions(priority=11)
    request = pb.ComputeSimilarityRequest(source=texts.GOOD, target_options=bad)
    targets = [texts.GOOD] * 200
    crowded = pb.ComputeSimilarityRequest(source=texts.GOOD, targets=targets)
    assert refused(server.embedding.ComputeSimilarity.future(request)).details == {
        "BadRequest target_options.priority"
    }
    assert refused(server.embedding.ComputeSimilarity.future(crowded)).details == {
        "BadRequest targets"
    }
    row = ROWS[WHOLE_CALL, "Options", "UNSUPPORTED_PRIORITY"].refusal
    assert refused(server.embedding.BatchEmbed.future(many(priority=11))) == row
