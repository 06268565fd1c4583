"""The sizes and constants of a text encoder."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerConfig:
    """The attention of one layer."""

    num_key_value_heads: int
    head_dim: int
    rope_theta: float
    window: int | None
    """Token i sees token j if |i - j| <= window; None: a token sees its whole text."""

    @property
    def key_rows(self) -> int:
        """Rows of the projection of the keys, and of that of the values."""
        return self.num_key_value_heads * self.head_dim


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Sizes and constants, named as in config.json where config.json names them."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    layers: tuple[LayerConfig, ...]
    attention_scale: float
    """Factor of a query's product with a key."""
    max_position_embeddings: int
    rms_norm_eps: float
    reinterpreted: str = ""
    """A suffix of the revision, where the reader takes config.json otherwise than transformers does."""

    @property
    def embedding_scale(self) -> float:
        # As in the fp32 reference. In bf16, transformers rounds the value (27.75 for 768): not followed.
        return math.sqrt(self.hidden_size)

    @property
    def window(self) -> int:
        """The narrowest window of a layer; the number of positions if every layer sees the whole text."""
        windows = (layer.window for layer in self.layers if layer.window is not None)
        return min(windows, default=self.max_position_embeddings)

    def query_rows(self, layer: LayerConfig) -> int:
        """Rows of the projection of the queries."""
        return self.num_attention_heads * layer.head_dim
