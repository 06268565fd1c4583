"""gemwire-mini: the small Gemma 3 text encoder that comes with gemwire. `gemwire_training` trained it."""

from pathlib import Path

CHECKPOINT = Path(__file__).with_name("checkpoint")
"""A folder in the sentence-transformers layout; its README.md is the model card."""
