"""Each spelling of a prompt is the prompt that it means, and two spellings at once are refused."""

import itertools
from typing import Any

import pytest

from gemwire_server.dialects.prompts import choose_prompt
from gemwire_server.errors import InvalidInput
from gemwire_server.service.requests import PromptName, PromptText, Task
from gemwire_server.text.prompts import TASKS

EXAMPLES = {"task": "clustering", "prompt_name": "Reranking", "prompt": "", "input_type": "query"}


@pytest.mark.parametrize("field", ["task", "input_type"])
@pytest.mark.parametrize(
    "name, task",
    [
        *((name, name) for name in TASKS),
        ("query", "retrieval_query"),
        ("search_query", "retrieval_query"),
        ("document", "retrieval_document"),
        ("search_document", "retrieval_document"),
        ("passage", "retrieval_document"),
        ("RETRIEVAL_QUERY", "retrieval_query"),
        ("Search-Document", "retrieval_document"),
        ("code-retrieval-query", "code_retrieval_query"),
    ],
)
def test_names_of_tasks(field: str, name: str, task: str) -> None:
    assert choose_prompt(**{field: name}) == Task(task)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name, task",
    [
        ("STS", "semantic_similarity"),
        ("QuestionAnswering", "question_answering"),
        ("Classification", "classification"),
        ("InstructionRetrieval", "code_retrieval_query"),
        ("document", "retrieval_document"),
    ],
)
def test_a_prompt_of_the_model_card_is_its_task(name: str, task: str) -> None:
    assert choose_prompt(prompt_name=name) == Task(task)


def test_another_prompt_name_is_the_checkpoints() -> None:
    assert choose_prompt(prompt_name="Reranking") == PromptName("Reranking")
    assert choose_prompt(prompt_name="sts") == PromptName("sts")


def test_a_prompt_may_be_empty_and_nothing_is_the_default() -> None:
    assert choose_prompt(prompt="ask: ") == PromptText("ask: ")
    assert choose_prompt(prompt="") == PromptText("")
    assert choose_prompt() is None


@pytest.mark.parametrize("pair", list(itertools.combinations(EXAMPLES, 2)))
def test_two_fields_conflict(pair: tuple[str, str]) -> None:
    fields: dict[str, Any] = {name: EXAMPLES[name] for name in pair}
    with pytest.raises(InvalidInput) as caught:
        choose_prompt(**fields, path="parameters.{}".format)
    assert caught.value.reason == "CONFLICTING_PROMPTS"
    assert all(f"parameters.{name}" in caught.value.message for name in pair)


@pytest.mark.parametrize("field", ["task", "input_type"])
def test_an_unknown_task_is_named_by_its_field_alone(field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        choose_prompt(**{field: "secret"}, path="parameters.{}".format)
    assert caught.value.reason == "UNKNOWN_TASK"
    assert caught.value.field == f"parameters.{field}"
    assert "secret" not in caught.value.message and "retrieval_query" in caught.value.message
