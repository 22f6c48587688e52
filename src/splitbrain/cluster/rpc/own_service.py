"""What TiKV's protocol has no word for, as MessagePack: one method for every such request.

    /minitikv.Requests/Ask     the bytes of ``messages.encode``, there and back

So go an eventual read, and what people and clients of minitikv ask of its placement driver beyond
TiKV's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import grpc
import msgspec

from splitbrain.cluster import messages as m
from splitbrain.cluster.rpc.tikv_service import Ask

__all__ = ["OWN_PATH", "OwnService"]

OWN_PATH = "/minitikv.Requests/Ask"


class OwnService:
    """The service of one node.

    Args:
        ask: hands a request to the node.
        serves: kinds of request that it takes.
    """

    def __init__(self, ask: Ask, serves: Collection[type[Any]]) -> None:
        self._ask = ask
        self._serves = frozenset(serves)

    def methods(self) -> Mapping[str, Any]:
        """Method name -> gRPC handler."""
        name = OWN_PATH.rpartition("/")[2]
        return {name: grpc.unary_unary_rpc_method_handler(self._handle)}

    async def _handle(self, data: bytes, context: Any) -> bytes:
        try:
            request = m.decode(data)
        except msgspec.DecodeError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no message: {error}")
            raise
        kind = type(request)
        if kind not in self._serves:
            text = f"this node takes no {kind.__name__}"
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)
        return m.encode(await self._ask(request))
