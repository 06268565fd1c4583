"""The encoder: its configuration, its weights and its equations."""

from gemwire_server.model.config import EncoderConfig, LayerKind
from gemwire_server.model.gemma3 import Encoder, EncoderWeights, LayerWeights

__all__ = ["Encoder", "EncoderConfig", "EncoderWeights", "LayerKind", "LayerWeights"]
