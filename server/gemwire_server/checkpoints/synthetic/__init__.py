"""Seeded random checkpoints in the layout of google/embeddinggemma-300m.

They serve tests, and load tests that must not depend on a download. Their vectors mean nothing;
every file and key is as published.
"""

from gemwire_server.checkpoints.synthetic.geometry import GEOMETRIES, Geometry
from gemwire_server.checkpoints.synthetic.make import make_checkpoint

__all__ = ["GEOMETRIES", "Geometry", "make_checkpoint"]
