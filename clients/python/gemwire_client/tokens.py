"""Messages of token ids, and what they bring."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client.requests import Document, Options, Text, options, text_input

Ids = Sequence[int] | NDArray[np.integer]


def tokenize(text: Text, given: Options) -> pb.TokenizeRequest:
    """The request for the ids of a text, with options as `Client.embed` takes them."""
    return pb.TokenizeRequest(input=text_input(text), options=options(**given))


def tokenize_with_spans(text: str | Document, given: Options) -> pb.TokenizeRequest:
    """As `tokenize`, with spans. Raises TypeError for ids, which have none."""
    if not isinstance(text, str | Document):
        raise TypeError(f"spans are places in a str or a Document, not in {type(text).__name__}")
    request = tokenize(text, given)
    request.include_spans = True
    return request


def ids_of(response: pb.TokenizeResponse) -> NDArray[np.int32]:
    """The ids, int32 [tokens]."""
    return np.array(response.ids, dtype=np.int32)


def spans_of(response: pb.TokenizeResponse) -> NDArray[np.uint32]:
    """The spans, uint32 [tokens, 2]. Raises ValueError if the server is older than they are."""
    if len(response.spans) != len(response.ids):
        raise ValueError("the server gives no spans: it is older than they are")
    flat = [(span.start_byte, span.end_byte) for span in response.spans]
    return np.array(flat, dtype=np.uint32).reshape(-1, 2)


def detokenize(ids: Ids, *, keep_special_tokens: bool) -> pb.DetokenizeRequest:
    """The request for the text of ids. Raises TypeError for what is no sequence of integers."""
    given = ids.tolist() if isinstance(ids, np.ndarray) else ids
    if not isinstance(given, Sequence) or isinstance(given, str | bytes | bytearray):
        raise TypeError(f"token ids are a sequence or an array of integers, not {type(ids)}")
    return pb.DetokenizeRequest(ids=given, keep_special_tokens=keep_special_tokens)
