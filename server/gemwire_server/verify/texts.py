"""The texts to compare with: the lines of a file, or samples of every length."""

import itertools
from importlib.resources import files
from pathlib import Path

from gemwire_server.errors import CheckpointError, InvalidInput
from gemwire_server.text.prompts import TASKS
from gemwire_server.text.tokenizer import Tokenizer

LENGTHS = (
    3, 4, 8, 16, 31, 63, 64, 65, 128, 255, 256, 257, 258, 259, 400, 511, 512, 513, 1024, 2048,
)  # fmt: skip


def read_texts(path: Path) -> list[str]:
    """The texts of a file, one a line. Raises CheckpointError, which names the file."""
    try:
        texts = [line for line in path.read_text("utf-8").splitlines() if line]
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path}: not UTF-8 at byte {error.start + 1}; unpack what is compressed first"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    if not texts:
        raise CheckpointError(f"{path} has no text: one a line is expected")
    return texts


def sample_texts(tokenizer: Tokenizer) -> list[str]:
    """Texts of `LENGTHS` tokens, as far as the window reaches, each task's prompt before some."""
    source = sample_source(tokenizer)
    prompts = itertools.cycle(["", *(card for _, card in TASKS.values())])
    starts = itertools.count(0, 997)
    texts = []
    for length in LENGTHS:
        for _ in range(1 if length > 1000 else 3):
            if length <= tokenizer.max_tokens:
                prompt = next(prompts) if length > 31 else ""
                start = next(starts) % (len(source) // 8)
                texts.append(text_of(tokenizer, prompt, source[start:], length))
    return texts


def sample_source(tokenizer: Tokenizer) -> str:
    """The package's sample text, repeated to fill the window from any start in its first eighth."""
    source = files("gemwire_server.checkpoints").joinpath("sample.txt").read_text("utf-8")
    return source * (2 + 16 * tokenizer.max_tokens // len(source))


def text_of(tokenizer: Tokenizer, prompt: str, source: str, length: int) -> str:
    """The prompt and the part of the source that makes `length` tokens, or the next smaller number."""
    low, high = 1, min(len(source), 16 * length)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            fits = len(tokenizer.encode(prompt + source[:middle], truncation=None).ids) <= length
        except InvalidInput:  # by its size alone it is too long
            fits = False
        low, high = (middle, high) if fits else (low, middle)
    return prompt + source[:low]
