"""TEI's description of a server."""

from dataclasses import dataclass

from gemwire_server import __version__
from gemwire_server.config.options import ServerConfig
from gemwire_server.served_model import ServedModel
from gemwire_server.service.service import tokenizer_threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """The model and the limits, with the names of TEI's fields."""

    version: str
    model_id: str
    model_sha: str
    model_dtype: str
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_client_batch_size: int
    tokenization_workers: int

    @classmethod
    def of(cls, model: ServedModel, config: ServerConfig) -> "Info":
        """`config` has the tokens of a step that suit the device."""
        return cls(
            version=__version__,
            model_id=model.name,
            model_sha=model.revision,
            model_dtype=model.dtype,
            max_concurrent_requests=config.max_concurrent_calls,
            max_input_length=model.max_tokens,
            max_batch_tokens=config.max_batch_tokens,
            max_client_batch_size=config.max_inputs_per_request,
            tokenization_workers=tokenizer_threads(config),
        )
