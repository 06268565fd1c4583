"""docs/configuration.md, generated from the options: python -m gemwire_server.config.page prints it."""

import json
from collections.abc import Iterator
from dataclasses import fields
from itertools import groupby

from gemwire_server.config.checks import LARGEST, Between
from gemwire_server.config.options import ServerConfig
from gemwire_server.config.sources import (
    BOOLEANS,
    CONFIG_VARIABLE,
    KINDS,
    PREFIX,
    Option,
    flag,
    variable,
)

*_FIRST, _LAST = (f"`{name}`" for name in BOOLEANS)
HEAD = f"""\
<!-- Generated from server/gemwire_server/config/options.py: change that file, then run `make docs`. -->

# Configuration

An option of `gemwire serve` has one name in three spellings: a flag, an environment variable and a key of a
TOML file. A flag wins over the variable, the variable over the file, and the file over the default.

```sh
gemwire serve --max-queue-tokens 65536
GEMWIRE_MAX_QUEUE_TOKENS=65536 gemwire serve
echo 'max_queue_tokens = 65536' > gemwire.toml && gemwire serve --config gemwire.toml
```

- `--config FILE` or `{CONFIG_VARIABLE}` names the TOML file. Its keys stand at the top level, in no table.
- Every source is checked whole, also where a stronger source overrides it. A wrong value and an unknown
  name end the start with exit code 2, and the error names the source.
- An unknown variable that begins with `{PREFIX}` is an error too, except for the variables that Kubernetes
  sets for a service whose name begins with `gemwire`.
- Variables with that prefix are the server's alone: no client reads one.
- A flag of true or false is `--NAME` or `--no-NAME`. The variable takes
  {", ".join(_FIRST)} or {_LAST}, in any case.
- Defaults are written here as in TOML; `""` is an empty text.
- No option holds a secret: certificates, keys and tokens are read from files that options name.
"""


def page() -> str:
    """The whole page, as Markdown."""
    return HEAD + "".join(_groups())


def _groups() -> Iterator[str]:
    for name, options in groupby(fields(ServerConfig), lambda option: option.metadata["group"]):
        yield f"\n## {name}\n\n| flag, variable, key | value | default | meaning |\n|---|---|---|---|\n"
        yield from map(_row, options)


def _row(option: Option) -> str:
    names = f"`{flag(option.name)}`<br>`{variable(option.name)}`<br>`{option.name}`"
    cells = (names, _value(option), f"`{json.dumps(option.default)}`", option.metadata["help"])
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _value(option: Option) -> str:
    """Which values the option takes, besides an empty text."""
    if choices := option.metadata["choices"]:
        return ", ".join(f"`{choice}`" for choice in choices if choice)
    metavar = option.metadata["metavar"]
    if option.type is str:
        return f"`{metavar or option.name.upper()}`"
    unit = f"`{metavar}`: " if metavar else ""
    return unit + KINDS[option.type][1] + _range(option.metadata["check"])


def _range(check: object) -> str:
    if not isinstance(check, Between):
        return ""
    most = "" if check.most == LARGEST else f" to {check.most:.15g}"
    return f" from {check.least:.15g}{most}"


if __name__ == "__main__":
    print(page(), end="")
