"""The ceiling: the encoder's matrix products and nothing else, over the batches this engine forms.

Weights are laid out once for oneDNN, and a product is one call of it. Nothing that is not a product is
computed, so there are no vectors to compare.
"""

from collections.abc import Callable, Sequence

import torch

from gemwire_server.checkpoints import Checkpoint
from gemwire_server.engine.packing import TokenIds
from peers.contender import NotRun
from peers.gemwire import batches

NAME = "products/bfloat16"


class Products:
    """The four products of each layer in bfloat16, on weights of the checkpoint's shapes."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        if not (native and torch.backends.mkldnn.is_available()):
            raise NotRun("oneDNN has no bfloat16 products on this machine")
        config = checkpoint.config
        hidden, middle = config.hidden_size, config.intermediate_size
        shapes = [
            [
                (config.query_rows(layer) + 2 * layer.key_rows, hidden),
                (hidden, config.query_rows(layer)),
                (2 * middle, hidden),
                (hidden, middle),
            ]
            for layer in config.layers
        ]
        # Each layer has weights of its own, which do not stay in the cache: that is part of the figure.
        self._layers = [
            [
                torch.ops.mkldnn._reorder_linear_weight(torch.randn(shape, dtype=torch.bfloat16))
                for shape in layer
            ]
            for layer in shapes
        ]
        self._widths = [columns for _, columns in shapes[0]]

    def prepare(self, sequences: Sequence[TokenIds], budget: int) -> Callable[[], None]:
        """Returns a call that computes all the products of the texts, to be timed."""
        inputs = [
            [
                torch.randn(sum(map(len, step)), width, dtype=torch.bfloat16)
                for width in self._widths
            ]
            for step in batches(sequences, budget)
        ]

        @torch.inference_mode()
        def run() -> None:
            for rows in inputs:
                for layer in self._layers:
                    for x, weight in zip(rows, layer, strict=True):
                        torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")

        return run
