"""Reads the values of a dataclass of options from flags, the environment and a TOML file.

A field named max_queue_tokens is the flag --max-queue-tokens, the variable
GEMWIRE_MAX_QUEUE_TOKENS and the TOML key max_queue_tokens. Every source is read and checked whole,
also where a stronger one overrides it: a wrong value is refused now, not on the day the flag is dropped.
"""

import argparse
import contextlib
import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any

PREFIX = "GEMWIRE_"
CONFIG_VARIABLE = "GEMWIRE_CONFIG"
LONGEST_SHOWN = 200
BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
# Every type of an option: how it is read from a string, and its name in errors.
KINDS: dict[Any, tuple[Callable[[str], object], str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    bool: (lambda raw: BOOLEANS.get(raw.lower(), raw), "true or false"),
}

Option = Field[Any]
Origins = dict[str, str]
Value = tuple[str, object, str]
"""Name, value, and where it was set."""


class ConfigError(ValueError):
    """The options are wrong, alone or together; `names` are the options concerned."""

    def __init__(self, message: str, *names: str) -> None:
        super().__init__(message)
        self.names = names

    def with_origins(self, origins: Origins) -> "ConfigError":
        """The same error with the sources of its options."""
        where = [origins[name] for name in self.names if name in origins]
        message = f"{self} (set by {', '.join(where)})" if where else str(self)
        return ConfigError(message, *self.names)


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    return PREFIX + name.upper()


def check(option: Option, value: object) -> None:
    """Raises ValueError with the reason if the option does not take the value."""
    # bool is an int to isinstance, but `threads = true` is a mistake.
    if type(value) is not option.type:
        raise ValueError(f"must be {KINDS[option.type][1]}")
    if isinstance(value, str):
        check_text(value)
    if option.metadata["check"] is not None:
        option.metadata["check"](value)
    if (choices := option.metadata["choices"]) and value not in choices:
        raise ValueError(f"must be {' or '.join(choice or 'empty' for choice in choices)}")


def check_text(value: str) -> None:
    """Raises ValueError for a text that no path, name or message can hold."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8") from None
    if "\0" in value:
        raise ValueError("must not hold a zero byte")


def shown(value: object) -> str:
    """A value as errors show it: only its beginning, if it is long."""
    try:
        said = repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        return "too long to show"
    return said if len(said) <= LONGEST_SHOWN else f"{said[:LONGEST_SHOWN]}…"


def add_flags(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    """Adds --config and the options; flags that are not given are absent from the namespace.

    Values stay strings until `gather`, so that every source is parsed and refused alike.
    """
    group = parser.add_argument_group(
        "server options",
        f"each also as the variable {PREFIX}NAME and as a key of the --config file, "
        "in this order of precedence",
    )
    group.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help=f"TOML file of options (${CONFIG_VARIABLE})",
    )
    for option in options:
        text = option.metadata["help"].replace("%", "%%")
        if option.type is bool:
            group.add_argument(
                flag(option.name),
                action=argparse.BooleanOptionalAction,
                default=argparse.SUPPRESS,
                help=f"{text} (default: {'yes' if option.default else 'no'})",
            )
            continue
        names = [choice for choice in option.metadata["choices"] if choice]
        if option.metadata["metavar"] and names:
            text += f" ({', '.join(names)})"
        if option.default != "":
            text += f" (default: {option.default})"
        group.add_argument(
            flag(option.name),
            default=argparse.SUPPRESS,
            metavar=option.metadata["metavar"] or "|".join(names) or _metavar(option),
            help=text,
        )


def _metavar(option: Option) -> str:
    return "N" if option.type is int else option.name.upper()


def gather(
    options: Sequence[Option], args: argparse.Namespace, environ: Mapping[str, str]
) -> tuple[dict[str, Any], Origins]:
    """The values that any source sets, and each one's source as errors name it."""
    by_name = {option.name: option for option in options}
    values: dict[str, Any] = {}
    origins: Origins = {}
    config_file = getattr(args, "config", None)
    if config_file == "":
        raise ConfigError("--config is '': must be a file's path")
    config_file = config_file or environ.get(CONFIG_VARIABLE)
    for name, value, origin in [
        *(_file_values(config_file, by_name) if config_file else ()),
        *_environment_values(environ, by_name),
        *_flag_values(args, by_name),
    ]:
        try:
            check(by_name[name], value)
        except ValueError as error:
            raise ConfigError(f"{origin} is {shown(value)}: {error}") from None
        values[name], origins[name] = value, origin
    return values, origins


def _file_values(path: str, known: Mapping[str, Option]) -> Iterator[Value]:
    try:
        table = tomllib.loads(Path(path).read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a path with \0
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror} (set by --config or {CONFIG_VARIABLE})"
        ) from None
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"{path}: there is no option {shown(key)}{_meant(key, known)}")
        if known[key].type is float and type(value) is int:
            with contextlib.suppress(OverflowError):
                value = float(value)  # 30 is a fine 30.0
        yield key, value, f"{path}: {key}"


# Kubernetes sets these variables in every pod for a service whose name begins with gemwire.
SERVICE_LINK = re.compile(
    r"GEMWIRE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)


def _environment_values(environ: Mapping[str, str], known: Mapping[str, Option]) -> Iterator[Value]:
    names = {variable(name): name for name in known}
    for key in sorted(environ):
        if not key.startswith(PREFIX) or key == CONFIG_VARIABLE:
            continue
        if key not in names and SERVICE_LINK.fullmatch(key):
            continue
        if key not in names:
            meant = _meant(key, [*names, CONFIG_VARIABLE])
            raise ConfigError(f"environment: there is no option {key}{meant}")
        yield names[key], _parse(known[names[key]], environ[key]), f"environment variable {key}"


def _flag_values(args: argparse.Namespace, known: Mapping[str, Option]) -> Iterator[Value]:
    for name, option in known.items():
        if name in vars(args):
            raw = vars(args)[name]
            yield name, _parse(option, raw) if isinstance(raw, str) else raw, flag(name)


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; is {close[0]} meant?" if close else ""


def _parse(option: Option, raw: str) -> object:
    """A string as the option's type; `check` refuses a string that cannot be converted."""
    try:
        return KINDS[option.type][0](raw)
    except ValueError:
        return raw
