"""Options as dataclass fields in groups, with all that a flag, a check and the docs need of them."""

from collections.abc import Iterable
from dataclasses import field
from functools import partial
from typing import Any

from gemwire_server.config.checks import Check


def _option(
    group: str,
    default: Any,
    help: str,
    *,
    metavar: str = "",
    choices: Iterable[str] = (),
    check: Check | None = None,
) -> Any:
    metadata = {
        "group": group,
        "help": help,
        "metavar": metavar,
        "choices": tuple(choices),
        "check": check,
    }
    return field(default=default, metadata=metadata)


model = partial(_option, "Model")
address = partial(_option, "Addresses")
limit = partial(_option, "Limits")
engine = partial(_option, "Engine")
security = partial(_option, "Security")
observability = partial(_option, "Observability")
lifecycle = partial(_option, "Lifecycle")
