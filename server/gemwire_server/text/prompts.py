"""The prompts that precede a text: the tasks of the model card and the checkpoint's own table."""

from collections.abc import Mapping
from dataclasses import dataclass

from gemwire_server.errors import InvalidInput

DOCUMENT_TASK = "retrieval_document"
UNTITLED = "title: none | "
# The longest list of names in an error, which travels in trailers: gRPC's clients take 8 KiB of them.
LISTED_CHARACTERS = 500

# Task → name in the checkpoint's table, and the model card's prompt where the table lacks the name.
TASKS: dict[str, tuple[str, str]] = {
    "retrieval_query": ("query", "task: search result | query: "),
    DOCUMENT_TASK: ("document", UNTITLED + "text: "),
    "question_answering": ("QuestionAnswering", "task: question answering | query: "),
    "fact_verification": ("FactVerification", "task: fact checking | query: "),
    "classification": ("Classification", "task: classification | query: "),
    "clustering": ("Clustering", "task: clustering | query: "),
    "semantic_similarity": ("STS", "task: sentence similarity | query: "),
    "code_retrieval_query": ("InstructionRetrieval", "task: code retrieval | query: "),
}


@dataclass(frozen=True, slots=True)
class PromptTable:
    """The checkpoint's prompts by name, and the prompt of requests that name none."""

    prompts: Mapping[str, str]
    default: str = ""

    def for_task(self, task: str, title: str = "") -> str:
        """Returns the prompt of a task of `TASKS`; a title takes the place of "none" in a document's."""
        name, card = TASKS[task]
        prompt = self.prompts.get(name, card)
        if not title:
            return prompt
        if task != DOCUMENT_TASK or not prompt.startswith(UNTITLED):
            raise InvalidInput(
                "TITLE_WITHOUT_DOCUMENT",
                f"a title goes with the task {DOCUMENT_TASK} only; this one is {task}",
                field="title",
            )
        return f"title: {title} | " + prompt.removeprefix(UNTITLED)

    def by_name(self, name: str) -> str:
        if (prompt := self.prompts.get(name)) is None:
            known = ", ".join(sorted(self.prompts)) or "none"
            if len(known) > LISTED_CHARACTERS:
                known = f"{len(self.prompts)} others, which Model.prompts lists"
            raise InvalidInput("UNKNOWN_PROMPT", f"no prompt has this name; the model has {known}")
        return prompt
