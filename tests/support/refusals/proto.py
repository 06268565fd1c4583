"""The values of ErrorReason, as the .proto has them."""

import re

from gemwire.v1 import embedding_pb2 as pb
from uninstalled import ROOT

PREFIX = "ERROR_REASON_"
PROTO = ROOT / "proto" / "gemwire" / "v1" / "embedding.proto"
VALUE = re.compile(
    rf"^  // ([A-Z_]+)(, with RetryInfo)?: .*\n(?:  // .*\n)*  {PREFIX}(\w+) = \d+;", re.M
)
"""A value, and how the comment above it begins: a code, and whether RetryInfo comes with it."""

Sent = tuple[str, str, bool]
"""A reason, its code, and whether RetryInfo comes with it."""


def in_the_proto() -> list[Sent]:
    return [(reason, code, bool(retry)) for code, retry, reason in VALUE.findall(PROTO.read_text())]


def values() -> set[str]:
    """Reasons of the generated enum, without the one that is never sent."""
    assert pb.ErrorReason.Name(0) == f"{PREFIX}UNSPECIFIED"
    return {name.removeprefix(PREFIX) for name in pb.ErrorReason.keys()[1:]}
