"""ErrorReason of the .proto is what the server sends: docs/refusals.md and the server's source."""

import re

from support.refusals.observed import NONE
from support.refusals.proto import in_the_proto, values
from support.refusals.reasons import UNREACHABLE, reasons_in_source
from support.refusals.table import PAGE, read_rows


def test_every_value_has_its_code_beside_it() -> None:
    named = [reason for reason, _, _ in in_the_proto()]
    assert len(named) == len(set(named)) and set(named) == values()


def test_the_values_are_the_rows_of_the_page() -> None:
    """A reason has one code in all its rows, and RetryInfo in all of them or in none."""
    refusals = {row.refusal for row in read_rows(PAGE.read_text())}
    rows = {(one.reason, one.code, "RetryInfo" in one.details) for one in refusals}
    assert set(in_the_proto()) == {row for row in rows if row[0] != NONE}


def test_the_source_names_no_other_reason() -> None:
    """A part of a reason that is computed is a pattern."""
    patterns = reasons_in_source() - UNREACHABLE
    assert not [one for one in patterns if not any(re.fullmatch(one, value) for value in values())]
    assert not [
        value for value in values() if not any(re.fullmatch(one, value) for one in patterns)
    ]
