"""What a Gemma 3 text encoder is made of."""

import enum
import math
from dataclasses import dataclass


class LayerKind(enum.Enum):
    """How far a layer's tokens see; valued as in config.json's `layer_types`."""

    SLIDING = "sliding_attention"
    FULL = "full_attention"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Geometry and constants, named as in config.json where config.json names them."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    layer_types: tuple[LayerKind, ...]
    max_position_embeddings: int
    rms_norm_eps: float
    query_pre_attn_scalar: float
    rope_theta: dict[LayerKind, float]
    window: int
    """Sliding layers let token i see token j if |i - j| <= window."""

    @property
    def attention_scale(self) -> float:
        return 1 / math.sqrt(self.query_pre_attn_scalar)

    @property
    def embedding_scale(self) -> float:
        # The fp32 reference's value. In bf16, transformers rounds it (27.75 for 768): not followed.
        return math.sqrt(self.hidden_size)

    @property
    def qkv_rows(self) -> tuple[int, int, int]:
        """Rows of q, k and v in the stacked projection."""
        kv = self.num_key_value_heads * self.head_dim
        return self.num_attention_heads * self.head_dim, kv, kv
