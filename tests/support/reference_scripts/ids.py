"""Run as a script: the ids that the installed transformers gives, and tokenizers that it saves.

Takes a JSON file: `save`, lists of a source, a target and AddedToken's arguments of each token to add,
and then `cases`, pairs of folders and texts. Prints for each case and folder the ids of each text, or
the error as a string.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from transformers import AddedToken, AutoTokenizer


def save(source: str, target: str, tokens: list[dict[str, Any]]) -> None:
    """The tokenizer.model of the source stays beside what is saved."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_tokens([AddedToken(**token) for token in tokens])
    tokenizer.save_pretrained(target)
    for name in ("tokenizer.model", "config.json"):
        shutil.copy(Path(source) / name, target)


def ids(folder: str, texts: list[str]) -> list[list[int]] | str:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        return [tokenizer(text)["input_ids"] for text in texts]
    except Exception as error:
        return repr(error)


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    for saved in request["save"]:
        save(*saved)
    found = [[ids(folder, texts) for folder in folders] for folders, texts in request["cases"]]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
