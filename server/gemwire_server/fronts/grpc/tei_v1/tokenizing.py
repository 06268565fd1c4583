"""The methods of the service Tokenize."""

from gemwire_compat import tei_pb2 as pb
from gemwire_server.dialects.tei.tokens import Tokens
from gemwire_server.fronts.grpc.tei_v1.messages import encode_response
from gemwire_server.fronts.grpc.tei_v1.stream import Group
from gemwire_server.service.call import Call
from gemwire_server.service.service import Service


class TokenizeService:
    """Tokenize, Decode, and what their streams do with a group of requests."""

    def __init__(self, service: Service, tokens: Tokens) -> None:
        self._service = service
        self._tokens = tokens

    async def tokenize(self, request: pb.EncodeRequest, call: Call) -> bytes:
        tokens = await self._tokens.tokenize(
            request.inputs,
            request.prompt_name if request.HasField("prompt_name") else None,
            call,
            add_special_tokens=request.add_special_tokens,
        )
        answer = await self._service.run(
            lambda: encode_response(tokens).SerializeToString(), len(tokens.ids)
        )
        self._tokens.check_answer(len(answer))
        return answer

    async def decode(self, request: pb.DecodeRequest, call: Call) -> bytes:
        text = await self._tokens.decode(
            request.ids, call, skip_special_tokens=request.skip_special_tokens
        )
        return pb.DecodeResponse(text=text).SerializeToString()

    async def tokenize_group(self, group: Group) -> None:
        """Answers requests of TokenizeStream."""
        for item in group.items:
            item.answer = await self.tokenize(item.request, group.call)
            group.answered()

    async def decode_group(self, group: Group) -> None:
        """Answers requests of DecodeStream."""
        for item in group.items:
            item.answer = await self.decode(item.request, group.call)
            group.answered()
