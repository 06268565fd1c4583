"""The bytes that a piece of a vocabulary stands for."""

from gemwire_server.text.sentencepiece_model import SPACE
from gemwire_server.text.tokenizer_files import BYTES


def piece_bytes(piece: str) -> bytes:
    """UTF-8 of a piece, with a space for each "▁"; of <0xNN> the one byte, which may be part of a
    character.
    """
    if piece in BYTES:
        return bytes.fromhex(piece[3:5])
    return piece.replace(SPACE, " ").encode()
