"""The checks of a caller's options against a model of 768 dimensions."""

import pytest

from gemwire_server.errors import InvalidInput
from gemwire_server.served_model import ServedModel
from gemwire_server.service.requests import EmbedOptions, Output, check_options
from gemwire_server.text.prompts import PromptTable

MODEL = ServedModel(
    name="m",
    revision="r",
    dimensions=(768, 512, 256, 128),
    default_dimensions=768,
    hidden_size=96,
    max_tokens=2048,
    vocabulary_size=1000,
    prompts=PromptTable({}),
    default_task="",
    dtype="float32",
    engine="cpu",
)


@pytest.mark.parametrize("dimensions", [1, 2, 127, 256, 300, 767, 768])
def test_any_size_up_to_the_largest_is_allowed_where_asked_for(dimensions: int) -> None:
    options = EmbedOptions(dimensions=dimensions, any_size=True)
    assert check_options(options, MODEL).vectors.dimensions == dimensions


@pytest.mark.parametrize("dimensions", [-1, 769, 1 << 31])
def test_other_sizes_are_refused(dimensions: int) -> None:
    with pytest.raises(InvalidInput) as found:
        check_options(
            EmbedOptions(dimensions=dimensions, any_size=True), MODEL, "options.{}".format
        )
    assert (found.value.reason, found.value.field) == (
        "UNSUPPORTED_DIMENSION",
        "options.dimensions",
    )
    assert found.value.message == f"dimensions is {dimensions}; the model has 1 to 768"


@pytest.mark.parametrize("dimensions", [1, 300, 769])
def test_without_any_size_the_trained_ones_alone_are_allowed(dimensions: int) -> None:
    with pytest.raises(InvalidInput) as found:
        check_options(EmbedOptions(dimensions=dimensions), MODEL)
    assert found.value.message.endswith("the model has 768, 512, 256, 128")


@pytest.mark.parametrize("any_size", [False, True])
def test_zero_is_the_default_size(any_size: bool) -> None:
    options = EmbedOptions(any_size=any_size)
    assert check_options(options, MODEL).vectors.dimensions == 768


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("output", list(Output))
def test_only_unit_vectors_are_normalized(output: Output, normalize: bool) -> None:
    checked = check_options(EmbedOptions(output=output, normalize=normalize), MODEL)
    assert checked.output is output
    assert checked.vectors.normalize is (normalize and output is Output.UNIT)
