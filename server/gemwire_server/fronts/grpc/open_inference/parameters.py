"""Reads the parameters of a request and of its tensors."""

from collections.abc import Collection, Mapping
from typing import TypeVar

from gemwire_compat import open_inference_pb2 as pb
from gemwire_server.dialects.prompts import choose_prompt
from gemwire_server.errors import InvalidInput
from gemwire_server.service.requests import EmbedOptions, check_prompt_length
from gemwire_server.text.tokenizer import Truncation

T = TypeVar("T")
Parameters = Mapping[str, pb.InferParameter]

TAKEN = (
    "task",
    "prompt_name",
    "prompt",
    "dimensions",
    "title",
    "truncate",
    "normalize",
    "priority",
)
"""The parameters of a request that this server takes."""

# Triton's own parameters, which its clients set for every model. None of them changes an embedding.
TRITONS = (
    "sequence_id",
    "sequence_start",
    "sequence_end",
    "timeout",
    "headers",
    "binary_data_output",
)
TRITONS_OF_TENSORS = ("binary_data", "binary_data_size")
TRITONS_PREFIX = "triton_"
# As much of an unknown name as an error quotes.
NAME_CHARACTERS = 64

TRUNCATIONS: Mapping[bool | str, Truncation] = {
    True: Truncation.END,
    False: Truncation.ERROR,
    "end": Truncation.END,
    "start": Truncation.START,
    "error": Truncation.ERROR,
}
TRUTHS: Mapping[bool | str, bool] = {True: True, False: False, "true": True, "false": False}


def path_of(name: str) -> str:
    """The path of a parameter in errors, from its name in the service."""
    return f"parameters.{'prompt' if name == 'prompt_text' else name}"


def read_options(parameters: Parameters) -> tuple[EmbedOptions, str]:
    """The options, not checked yet, and the title of all texts. Raises InvalidInput."""
    _check_names(parameters, (*TAKEN, *TRITONS), "the request")
    options = EmbedOptions(
        prompt=choose_prompt(
            task=_string(parameters, "task"),
            prompt_name=_string(parameters, "prompt_name"),
            prompt=_string(parameters, "prompt") if "prompt" in parameters else None,
            path=path_of,
        ),
        dimensions=_whole(parameters, "dimensions"),
        truncation=_one_of(parameters, "truncate", TRUNCATIONS, Truncation.ERROR),
        normalize=_one_of(parameters, "normalize", TRUTHS, True),
        priority=_priority(parameters),
    )
    title = _string(parameters, "title")
    check_prompt_length(title, path_of("title"))
    return options, title


def check_tensor_parameters(parameters: Parameters, tensor: str) -> None:
    """Raises InvalidInput for a parameter of a tensor that would change what it means."""
    _check_names(parameters, TRITONS_OF_TENSORS, tensor)


def _check_names(parameters: Parameters, known: Collection[str], owner: str) -> None:
    for name in parameters:
        if name not in known and not name.startswith(TRITONS_PREFIX):
            quoted = ascii(name[:NAME_CHARACTERS])
            ours = ", ".join(each for each in known if each in TAKEN)
            raise InvalidInput(
                "UNKNOWN_PARAMETER",
                f"{owner} has the parameter {quoted}, which this server does not know"
                + (f"; it has {ours}" if ours else ""),
                field="parameters",
            )


def _value(parameters: Parameters, name: str) -> bool | int | float | str:
    parameter = parameters[name]
    kind = parameter.WhichOneof("parameter_choice")
    if kind is None:
        raise InvalidInput(
            "INVALID_PARAMETER", f"{path_of(name)} has no value", field=path_of(name)
        )
    value: bool | int | float | str = getattr(parameter, kind)
    return value


def _string(parameters: Parameters, name: str) -> str:
    if name not in parameters:
        return ""
    if not isinstance(value := _value(parameters, name), str):
        raise _wrong(name, "a string")
    return value


def _whole(parameters: Parameters, name: str) -> int:
    if name not in parameters:
        return 0
    value = _value(parameters, name)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(name, "a whole number")
    return value


def _one_of(parameters: Parameters, name: str, values: Mapping[bool | str, T], default: T) -> T:
    if name not in parameters:
        return default
    value = _value(parameters, name)
    key = value.lower() if isinstance(value, str) else value
    if not isinstance(key, bool | str) or key not in values:
        raise _wrong(name, ", ".join(str(each).lower() for each in values))
    return values[key]


def _priority(parameters: Parameters) -> int:
    """Triton's own priority is a uint64 whose lowest is first, and means nothing for a model without
    priority levels, as this one is. The server's own is signed, and its highest is first."""
    if "priority" in parameters and parameters["priority"].HasField("uint64_param"):
        return 0
    return _whole(parameters, "priority")


def _wrong(name: str, expected: str) -> InvalidInput:
    return InvalidInput(
        "INVALID_PARAMETER", f"{path_of(name)} is not {expected}", field=path_of(name)
    )
