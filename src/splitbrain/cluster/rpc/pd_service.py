"""``pdpb.PD`` as a node offers it: each request becomes a struct for the placement driver in the node.

Timestamps go over a stream: as many answers as requests, in their order.  An error that is told by a
status (see ``pd_errors``) ends the stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, NoReturn

import grpc

from splitbrain.cluster.messages.pd_errors import ClusterMismatch, PdError
from splitbrain.cluster.rpc.fields import Codec
from splitbrain.cluster.rpc.handlers import stream, unary
from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.pd_errors import DETAIL, encode_detail, status_of
from splitbrain.cluster.rpc.pd_wire import PD, TSO, with_cluster_id
from splitbrain.cluster.rpc.tikv_service import Ask

__all__ = ["PdService"]


class PdService:
    """The methods of one node.

    Args:
        ask: hands a request to the placement driver; None as an answer: it has none.
        names: the nodes, their numbers and addresses.
        cluster_id: told in every answer; a request that names another is refused.
    """

    def __init__(self, ask: Ask, names: Names, cluster_id: int) -> None:
        self._ask = ask
        self._names = names
        self._cluster_id = cluster_id

    def methods(self) -> Mapping[str, Any]:
        """Method name -> gRPC handler."""
        methods = {
            codec.path.rpartition("/")[2]: unary(self._unary(codec), codec.request.wire)
            for codec in PD
        }
        methods["Tso"] = stream(self._timestamps, TSO.request.wire)
        return methods

    def _unary(self, codec: Codec) -> Any:
        async def handle(wire: Any, context: Any) -> Any:
            return await self._answer(codec, wire, context)

        return handle

    async def _timestamps(
        self, requests: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        async for wire in requests:
            yield await self._answer(TSO, wire, context)

    async def _answer(self, codec: Codec, wire: Any, context: Any) -> Any:
        request = codec.request.from_wire(wire, self._names)
        if request.cluster_id not in (0, self._cluster_id):
            await _abort(context, ClusterMismatch(request.cluster_id, self._cluster_id))
        answer = await self._ask(request)
        if answer is None:
            name = codec.path.rpartition("/")[2]
            text = f"this placement driver has no {name}"
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)
        if status_of(answer.error):
            await _abort(context, answer.error)
        return with_cluster_id(codec.answer.to_wire(answer, self._names), self._cluster_id)


async def _abort(context: Any, error: PdError) -> NoReturn:
    status = status_of(error)
    assert status is not None
    code, text = status
    detail = ((DETAIL, encode_detail(error)),)
    await context.abort(grpc.StatusCode[code], text, trailing_metadata=detail)
    raise AssertionError("gRPC's abort has come back")
