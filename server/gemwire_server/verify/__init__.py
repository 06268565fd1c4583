"""Compares the engine's vectors with sentence-transformers' on the same checkpoint and device.

The gate: against the fp32 reference, the engine's error 1 - cos is no larger than that of the reference
in bfloat16 (mean and p99), its mean is at most 2e-4 and its maximum at most 1e-3. With int8 weights the
mean is at most 2e-3 and the maximum 1e-2.
"""

from gemwire_server.verify.comparison import Errors, gate, overlap
from gemwire_server.verify.embedding import embed
from gemwire_server.verify.model_card import CARD_DOCUMENTS, CARD_QUERY
from gemwire_server.verify.reference import reference_vectors
from gemwire_server.verify.texts import sample_source, text_of
from gemwire_server.verify.verification import run

__all__ = [
    "CARD_DOCUMENTS",
    "CARD_QUERY",
    "Errors",
    "embed",
    "gate",
    "overlap",
    "reference_vectors",
    "run",
    "sample_source",
    "text_of",
]
