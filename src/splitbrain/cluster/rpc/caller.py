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
        the placement driver told its error by a status          an answer with that error

A channel that has lost its node but has not noticed counts as ready, so the first call after a kill
may be an EOFError although nothing was sent.  That is the safe side.

Timestamps go over the ``Tso`` stream, and with ``batch`` all that may over ``BatchCommands``: a stream
that ends is an EOFError for everything in flight on it.

    caller = GrpcCaller({"n1": "127.0.0.1:4001"}, ("n1", "n2", "n3"))
    reply = await caller.call("n1", RawGet(key=b"k"), timeout_s=1.0)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
import msgspec

from splitbrain.cluster import messages as m
from splitbrain.cluster.messages import pd
from splitbrain.cluster.messages.context import ReplicaRead
from splitbrain.cluster.rpc.fields import Codec, Refused
from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.options import CHANNEL
from splitbrain.cluster.rpc.own_service import OWN_PATH
from splitbrain.cluster.rpc.pd_errors import DETAIL, decode_detail
from splitbrain.cluster.rpc.pd_wire import PD, TSO
from splitbrain.cluster.rpc.streams import BatchStream, Stream, TsoStream
from splitbrain.cluster.rpc.translate import METHODS

__all__ = ["GrpcCaller"]

_READY = grpc.ChannelConnectivity.READY
_FAILED = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)

_CODECS = {codec.request.kind: codec for codec in (*METHODS.values(), *PD, TSO)}
del _CODECS[pd.GetClusterInfo]  # TiKV's says less than ours


def _codec_of(request: Any) -> Codec | None:
    """TiKV's method for a request; None: it goes in our own way."""
    context = getattr(request, "context", None)
    if context is not None and context.replica_read is ReplicaRead.EVENTUAL:
        return None
    return _CODECS.get(type(request))


class GrpcCaller:
    """Implements :class:`splitbrain.env.Caller`; one channel a node, made at its first use.

    Args:
        addresses: node -> host:port to dial.
        nodes: all stores in the configuration's order, so that numbers on the wire become names.
        batch: send what may go over one ``BatchCommands`` stream a node.
    """

    def __init__(
        self, addresses: Mapping[str, str], nodes: Sequence[str], *, batch: bool = False
    ) -> None:
        self._addresses = dict(addresses)
        self._names = Names(tuple(nodes), addresses)
        self._batch = batch
        self._channels: dict[str, Any] = {}
        self._methods: dict[tuple[str, str], Any] = {}
        self._streams: dict[tuple[str, type[Stream]], Any] = {}

    async def call(self, node: str, request: Any, *, timeout_s: float) -> Any:
        """Send ``request`` and wait for the answer; see :class:`splitbrain.env.Caller`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        await self._ready(node, timeout_s)
        left_s = deadline - loop.time()
        if left_s <= 0:
            raise ConnectionError(f"{node}: no connection within {timeout_s} s")
        codec = _codec_of(request)
        try:
            if codec is None:
                return await self._own(node, request, left_s)
            wire = await self._send(node, codec, request, left_s)
            return codec.answer.from_wire(wire, self._names)
        except grpc.RpcError as error:
            told = _told(error, codec)
            if told is not None:
                return told
            raise _error(node, error) from error
        except (Refused, msgspec.DecodeError) as error:
            raise EOFError(f"{node}: an answer that cannot be read: {error}") from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # gRPC says so, too, when ``close`` ended the connection; nobody cancelled the task.
            raise EOFError(f"{node}: the client was closed") from None

    async def close(self) -> None:
        """Drop all connections."""
        streams, self._streams = self._streams, {}
        channels, self._channels = self._channels, {}
        self._methods.clear()
        for stream in streams.values():
            await stream.close()
        for channel in channels.values():
            await channel.close()

    async def _send(self, node: str, codec: Codec, request: Any, left_s: float) -> Any:
        """The answer's message."""
        wire = codec.request.to_wire(request, self._names)
        if codec is TSO:
            return await _sent(self._stream(node, TsoStream).ask(wire, timeout_s=left_s))
        if self._batch and codec.batched:
            stream = self._stream(node, BatchStream)
            return await stream.ask(codec.batched, wire, timeout_s=left_s)
        method = self._method(node, codec)
        return await method(wire, timeout=left_s)

    async def _own(self, node: str, request: Any, left_s: float) -> Any:
        key = (node, OWN_PATH)
        method = self._methods.get(key)
        if method is None:
            method = self._methods[key] = self._channel(node).unary_unary(OWN_PATH)
        return m.decode(await method(m.encode(request), timeout=left_s))

    def _stream(self, node: str, kind: Any) -> Any:
        stream = self._streams.get((node, kind))
        if stream is None or stream.over:
            stream = self._streams[node, kind] = kind(node, self._channel(node))
        return stream

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

    def _method(self, node: str, codec: Codec) -> Any:
        method = self._methods.get((node, codec.path))
        if method is None:
            method = self._channel(node).unary_unary(
                codec.path,
                request_serializer=codec.request.wire.SerializeToString,
                response_deserializer=codec.answer.wire.FromString,
            )
            self._methods[node, codec.path] = method
        return method


async def _sent(answer: Awaitable[Any]) -> Any:
    """An answer over a stream; what gRPC said at its end comes as it would from a plain call."""
    try:
        return await answer
    except EOFError as error:
        if isinstance(error.__cause__, grpc.RpcError):
            raise error.__cause__ from None
        raise


def _told(error: Any, codec: Codec | None) -> Any:
    """The answer that a status' metadata tell; None: they tell none."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAIL and codec is not None and (detail := decode_detail(value)):
            return codec.answer.kind(error=detail)
    return None


def _error(node: str, error: Any) -> Exception:
    """What a failed call means, where the request may have been sent."""
    code, details = error.code(), error.details()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimeoutError(f"{node}: no answer in time")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ConnectionError(f"{node}: refused: {details}")
    return EOFError(f"{node}: {code.name}: {details}")
