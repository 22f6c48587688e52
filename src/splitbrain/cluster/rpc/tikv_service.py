"""``tikvpb.Tikv`` as a store offers it.

Each request becomes a struct for the node, and the node's answer ends the call.  TiKV's order: the
cluster first (another one's request is INVALID_ARGUMENT), then what the protocol can say and minitikv
cannot do, in words, in the answer; all else is the node's to decide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import grpc

from splitbrain.cluster.rpc import kvrpcpb_pb2 as kvrpcpb
from splitbrain.cluster.rpc.batch_service import BatchService
from splitbrain.cluster.rpc.fields import Codec, Refused
from splitbrain.cluster.rpc.handlers import unary
from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.raw import NO_TTL
from splitbrain.cluster.rpc.translate import METHODS, refusal

__all__ = ["Ask", "TikvService"]

Ask = Callable[[Any], Awaitable[Any]]
"""Hands a request to the node and waits for its answer."""


class TikvService:
    """The methods of one store.

    Args:
        ask: see :data:`Ask`.
        names: the stores and their numbers.
        cluster_id: requests that name another cluster are refused.
        serves: kinds of request that the node takes; methods of all others are UNIMPLEMENTED.
    """

    def __init__(
        self, ask: Ask, names: Names, cluster_id: int, serves: Collection[type[Any]]
    ) -> None:
        self._ask = ask
        self._names = names
        self._cluster_id = cluster_id
        self._codecs = [codec for kind, codec in METHODS.items() if kind in serves]

    def methods(self) -> Mapping[str, Any]:
        """Method name -> gRPC handler."""
        methods = {
            codec.path.rpartition("/")[2]: unary(self._unary(codec), codec.request.wire)
            for codec in self._codecs
        }
        batched = {codec.batched: codec for codec in self._codecs if codec.batched}
        batches = BatchService(self.answer, self.wrong_cluster, batched)
        methods["BatchCommands"] = batches.handler()
        methods["RawGetKeyTTL"] = unary(_no_ttl, kvrpcpb.RawGetKeyTTLRequest)
        return methods

    def wrong_cluster(self, wire: Any) -> str:
        """Why a request is not for this cluster; empty if it is."""
        cluster_id = wire.context.cluster_id
        if cluster_id in (0, self._cluster_id):
            return ""
        return f"the request is for cluster {cluster_id}; this is {self._cluster_id}"

    async def answer(self, codec: Codec, wire: Any) -> Any:
        """The answer to one request.

        Raises:
            Refused: minitikv cannot do it.
        """
        request = codec.request.from_wire(wire, self._names)
        return codec.answer.to_wire(await self._ask(request), self._names)

    def _unary(self, codec: Codec) -> Any:
        tells_error = {"error", "errors"} & set(codec.answer.wire.DESCRIPTOR.fields_by_name)

        async def handle(wire: Any, context: Any) -> Any:
            if wrong := self.wrong_cluster(wire):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, wrong)
            try:
                return await self.answer(codec, wire)
            except Refused as refused:
                if tells_error:
                    return refusal(codec.answer.wire, str(refused))
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, str(refused))
                raise

        return handle


async def _no_ttl(_: Any, __: Any) -> Any:
    return kvrpcpb.RawGetKeyTTLResponse(error=NO_TTL)
