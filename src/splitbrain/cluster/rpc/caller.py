"""Our client's way to nodes over gRPC, and a strict answer to "may the request have been sent?".

gRPC says ``UNAVAILABLE`` both where a connection could not be made and where one broke after the
request had been sent; the first is a certain no, the second is not.  Texts of errors are no ground
to tell them apart, so the caller decides *before* it hands the request to gRPC:

    the channel is not ready, and does not become so in time     nothing was handed over
                                                                 -> ConnectionError
    it was ready, so the request was handed over, and then
        the deadline passed                                      -> TimeoutError
        the connection ended, or the server broke off the call   -> EOFError
        the server does not know the method                      -> ConnectionError

A channel that has lost its node but has not noticed counts as ready, so the first call after a kill
may be an EOFError although nothing was sent.  That is the safe side.

    caller = GrpcCaller({"n1": "127.0.0.1:4001"}, ("n1", "n2", "n3"))
    reply = await caller.call("n1", RawGet(key=b"k"), timeout_s=1.0)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio

from splitbrain.cluster import messages as m
from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.options import CHANNEL
from splitbrain.cluster.rpc.translate import METHODS, answer_from_wire, request_to_wire

__all__ = ["GrpcCaller"]

_READY = grpc.ChannelConnectivity.READY
_FAILED = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)


class GrpcCaller:
    """Implements :class:`splitbrain.env.Caller`; one channel a node, made at its first use.

    Args:
        addresses: node -> host:port to dial.
        nodes: all stores in the configuration's order, so that numbers on the wire become names.
    """

    def __init__(self, addresses: Mapping[str, str], nodes: Sequence[str]) -> None:
        self._addresses = dict(addresses)
        self._names = Names(tuple(nodes))
        self._channels: dict[str, Any] = {}
        self._methods: dict[tuple[str, type[Any]], Any] = {}

    async def call(self, node: str, request: m.Request, *, timeout_s: float) -> m.Answer:
        """Send ``request`` and wait for the answer; see :class:`splitbrain.env.Caller`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        await self._ready(node, timeout_s)
        left_s = deadline - loop.time()
        if left_s <= 0:
            raise ConnectionError(f"{node}: no connection within {timeout_s} s")
        method = self._method(node, type(request))
        try:
            wire = await method(request_to_wire(request), timeout=left_s)
        except grpc.RpcError as error:
            raise _error(node, error) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # gRPC says so, too, when ``close`` ended the connection; nobody cancelled the task.
            raise EOFError(f"{node}: the client was closed") from None
        return answer_from_wire(wire, self._names)

    async def close(self) -> None:
        """Drop all connections."""
        channels, self._channels = self._channels, {}
        self._methods.clear()
        for channel in channels.values():
            await channel.close()

    async def _ready(self, node: str, timeout_s: float) -> None:
        """Wait for a connection, but not longer than until one attempt has failed.

        Raises:
            ConnectionError: there is none; nothing was sent.
        """
        channel = self._channel(node)
        state = channel.get_state(try_to_connect=True)
        if state is _READY:
            return
        try:
            async with asyncio.timeout(timeout_s):
                while state is not _READY:
                    if state in _FAILED:
                        raise ConnectionError(f"{node}: no connection to {self._address(node)}")
                    await channel.wait_for_state_change(state)
                    state = channel.get_state(try_to_connect=True)
        except TimeoutError as error:
            text = f"{node}: no connection to {self._address(node)} within {timeout_s} s"
            raise ConnectionError(text) from error

    def _address(self, node: str) -> str:
        if node not in self._addresses:
            raise ConnectionError(f"no address of node {node!r} is known")
        return self._addresses[node]

    def _channel(self, node: str) -> Any:
        channel = self._channels.get(node)
        if channel is None:
            channel = grpc.aio.insecure_channel(self._address(node), options=CHANNEL)
            self._channels[node] = channel
        return channel

    def _method(self, node: str, kind: type[Any]) -> Any:
        method = self._methods.get((node, kind))
        if method is None:
            about = METHODS[kind]
            method = self._channel(node).unary_unary(
                about.path,
                request_serializer=about.request.SerializeToString,
                response_deserializer=about.response.FromString,
            )
            self._methods[node, kind] = method
        return method


def _error(node: str, error: Any) -> Exception:
    """What a failed call means, where the request may have been sent."""
    code, details = error.code(), error.details()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimeoutError(f"{node}: no answer in time")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ConnectionError(f"{node}: refused: {details}")
    return EOFError(f"{node}: {code.name}: {details}")
