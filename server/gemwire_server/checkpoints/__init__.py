"""Checkpoints as they are published: sentence-transformers folders of a Gemma 3 text encoder."""

from gemwire_server.checkpoints.opened import Checkpoint, open_checkpoint, open_configured

__all__ = ["Checkpoint", "open_checkpoint", "open_configured"]
