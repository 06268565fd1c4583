"""The sizes of the synthetic checkpoints."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The sizes of a model, named as in config.json where config.json names them."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    query_pre_attn_scalar: int
    dense: int
    embedding_size: int
    """The size of a whole vector, the output of the last Dense layer."""
    matryoshka_dimensions: tuple[int, ...] = ()
    lower_case: bool = False
    """Texts are lowercased."""

    @property
    def layer_types(self) -> list[str]:
        """The kind of each layer, as config.json names it: every sixth layer sees the whole text."""
        layers = range(1, self.num_hidden_layers + 1)
        return ["sliding_attention" if i % 6 else "full_attention" for i in layers]


GEOMETRIES: dict[str, Geometry] = {
    "embeddinggemma-300m": Geometry(
        vocab_size=262144,
        hidden_size=768,
        num_hidden_layers=24,
        intermediate_size=1152,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=256,
        query_pre_attn_scalar=256,
        dense=3072,
        embedding_size=768,
    ),
    # Both kinds of layer, a partial period, and a score scale that is not head_dim.
    "tiny": Geometry(
        vocab_size=2048,
        hidden_size=96,
        num_hidden_layers=7,
        intermediate_size=112,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=32,
        query_pre_attn_scalar=24,
        dense=192,
        embedding_size=96,
        matryoshka_dimensions=(96, 64, 32),
    ),
}
