"""Checkpoints as they are published: sentence-transformers folders of a text encoder."""

from gemwire_server.checkpoints.opened import Checkpoint, open_checkpoint, open_configured

__all__ = ["Checkpoint", "open_checkpoint", "open_configured"]
