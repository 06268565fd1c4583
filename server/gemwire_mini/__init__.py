"""gemwire-mini: a small Gemma 3 text encoder that comes with gemwire, and the recipe that trained it."""

from pathlib import Path

CHECKPOINT = Path(__file__).with_name("checkpoint")
"""A folder in the sentence-transformers layout; its README.md is the model card."""
