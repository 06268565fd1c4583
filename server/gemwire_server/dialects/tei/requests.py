"""TEI's requests in plain values, checked in TEI's order."""

from dataclasses import dataclass

from gemwire_server.dialects.tei.errors import Refused, empty_text, refused
from gemwire_server.service.requests import (
    CheckedOptions,
    EmbedOptions,
    Input,
    Output,
    PromptText,
)
from gemwire_server.service.service import Service
from gemwire_server.text.tokenizer import Truncation

# TEI refuses or cuts a longer text before it tokenizes.
CHARACTERS_PER_TOKEN = 250
# The longest part of an unknown name, and the longest list of names, in an error: errors travel in
# trailers, and gRPC's clients take 8 KiB of them.
SHOWN_CHARACTERS = 64
LISTED_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """The options of a request, with TEI's defaults over gRPC. `dimensions` None is the model's size.

    `truncate_left` says which side is cut off, if `truncate` is set; the left one takes the prompt too.
    """

    truncate: bool = False
    truncate_left: bool = False
    prompt_name: str | None = None
    normalize: bool = True
    dimensions: int | None = None

    @property
    def truncation(self) -> Truncation:
        if not self.truncate:
            return Truncation.ERROR
        return Truncation.START if self.truncate_left else Truncation.END


@dataclass(frozen=True, slots=True)
class Checked:
    """A text as the service gets it. `characters` counts it without its prompt; `late` is the error that
    it gets once it is tokenized."""

    input: Input
    options: CheckedOptions
    characters: int
    late: Refused | None


class Checks:
    """The checks of a text and its options against the served model."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._model = service.model
        self._tokenizer = service.embedder.tokenizer
        self._default_prompt = service.check(EmbedOptions()).prompt_for(self._model, "")
        self._most_characters = self._model.max_tokens * CHARACTERS_PER_TOKEN

    def check(self, text: str, options: TextOptions) -> Checked:
        """Raises Refused, for the reason that TEI finds first."""
        late, size = None, self._model.dimensions[0]
        if (dimensions := options.dimensions) is not None:
            if dimensions == 0:
                raise refused(
                    "UNSUPPORTED_DIMENSION", "`dimensions` should be positive", "dimensions"
                )
            if dimensions > size:
                late = refused(
                    "UNSUPPORTED_DIMENSION",
                    "`dimensions` should be smaller than the maximum embedding dimension.",
                    "dimensions",
                )
            size = min(dimensions, size)
        checked = self._service.check(
            EmbedOptions(
                prompt=PromptText(""),
                dimensions=size,
                truncation=options.truncation,
                normalize=options.normalize,
                output=Output.UNIT if options.normalize else Output.RAW,
                any_size=True,
            )
        )
        prompt = self._prompt_before(text, options.prompt_name)
        characters = len(text)
        if not options.truncate:
            self._check_characters(characters, self._most_characters)
        whole = prompt + text
        if not options.truncate and len(whole) > self._tokenizer.max_characters:
            raise self._too_many_tokens(len(whole))
        # As one text, so that cutting the left side takes the prompt first.
        return Checked(Input(whole), checked, characters, late)

    def check_to_tokenize(self, text: str, prompt_name: str | None) -> str:
        """Prompt and text, which are to be tokenized only. Raises Refused."""
        whole = self._prompt_before(text, prompt_name) + text
        self._check_characters(len(text), self._most_characters)
        self._check_characters(len(whole), self._tokenizer.max_characters)
        return whole

    def _prompt_before(self, text: str, name: str | None) -> str:
        if not text:
            raise empty_text()
        if name is None:
            return self._default_prompt
        prompts = self._model.prompts.prompts
        if (prompt := prompts.get(name)) is not None:
            return prompt
        listed, size = [], 0
        for known in sorted(prompts):
            size += len(known) + 4
            if size > LISTED_CHARACTERS:
                break
            listed.append(f'"{known}"')
        raise refused(
            "UNKNOWN_PROMPT",
            f"`default-prompt-name` is set to `{name[:SHOWN_CHARACTERS]}` but it was not found in the "
            f"Sentence Transformers prompts. Available prompts: [{', '.join(listed)}]",
            "prompt_name",
        )

    def _check_characters(self, characters: int, limit: int) -> None:
        if characters > limit:
            raise refused(
                "TEXT_TOO_LONG",
                f"`inputs` must have less than {limit} characters. Given: {characters}",
            )

    def _too_many_tokens(self, characters: int) -> Refused:
        """The error of a text that is not tokenized, as its characters alone are too many; it names the
        fewest tokens that it can have."""
        window = self._model.max_tokens
        fewest = -(-characters * window // self._tokenizer.max_characters)
        return refused(
            "TEXT_TOO_LONG", f"`inputs` must have less than {window} tokens. Given: {fewest}"
        )
