"""The Gemma 3 text encoder."""
