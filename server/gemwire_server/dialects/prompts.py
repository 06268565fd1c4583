"""The ways in which other APIs' requests choose a prompt."""

from gemwire_server.errors import InvalidInput
from gemwire_server.service.requests import FieldPath, PromptChoice, PromptName, PromptText, Task
from gemwire_server.text.prompts import DOCUMENT_TASK, TASKS

QUERY_TASK = "retrieval_query"
ALIASES = {
    "query": QUERY_TASK,
    "search_query": QUERY_TASK,
    "document": DOCUMENT_TASK,
    "search_document": DOCUMENT_TASK,
    "passage": DOCUMENT_TASK,
}
"""What other servers call tasks of `TASKS`."""

# The model card's name of a prompt → task. As a task it may have a title, and a checkpoint whose own table
# lacks the name has the model card's prompt.
_CARD_NAMES = {name: task for task, (name, _) in TASKS.items()}


def choose_prompt(
    *,
    task: str = "",
    prompt_name: str = "",
    prompt: str | None = None,
    input_type: str = "",
    path: FieldPath = str,
) -> PromptChoice:
    """The prompt that a request chooses by one of its fields, which `path` names in errors.

    An empty field is not set, but an empty `prompt` is: it asks for no prompt at all. `task` and
    `input_type` take the names of `TASKS` and of `ALIASES`, in any case and with - for _. Raises
    InvalidInput for another name, and for more than one field.
    """
    given = {
        "task": task or None,
        "prompt_name": prompt_name or None,
        "prompt": prompt,
        "input_type": input_type or None,
    }
    fields = [path(name) for name, value in given.items() if value is not None]
    if len(fields) > 1:
        raise InvalidInput(
            "CONFLICTING_PROMPTS",
            f"{' and '.join(fields)} each choose a prompt: send one of them",
            field=fields[1],
        )
    if prompt is not None:
        return PromptText(prompt)
    if prompt_name:
        return (
            Task(_CARD_NAMES[prompt_name])
            if prompt_name in _CARD_NAMES
            else PromptName(prompt_name)
        )
    if not fields:
        return None
    name = (task or input_type).lower().replace("-", "_")
    name = ALIASES.get(name, name)
    if name not in TASKS:
        known = ", ".join([*TASKS, *ALIASES])
        raise InvalidInput(
            "UNKNOWN_TASK",
            f"{fields[0]} is not a task of this server; it has {known}",
            field=fields[0],
        )
    return Task(name)
