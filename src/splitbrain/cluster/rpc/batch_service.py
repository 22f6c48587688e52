"""``BatchCommands``: many requests in flight on one stream, answered in whatever order they end.

    client's frames   requests [Get, RawPut], ids [7, 8]
    store's frames    responses [RawPut], ids [8]      as soon as anything is ready, and then
                      responses [Get, ...], ids [7, ...]   all that is ready by then

A request that is never answered (its fate is not known here, or too many came after it) leaves its id
without a response: the client's own time-out tells.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc

from splitbrain.cluster.rpc import tikvpb_pb2 as tikvpb
from splitbrain.cluster.rpc.fields import Codec, Refused
from splitbrain.cluster.rpc.handlers import stream
from splitbrain.cluster.rpc.translate import refusal

__all__ = ["FRAME_BYTES", "FRAME_ELEMENTS", "IN_FLIGHT", "BatchService"]

FRAME_ELEMENTS = 128
FRAME_BYTES = 1 << 20
"""A frame of responses is closed when it has as many or as much."""
IN_FLIGHT = 8192
"""Requests of one stream; beyond, the oldest is given up, for it may never be answered.

While as many answers wait for the client to read them, no more requests are taken.
"""

_Response = tikvpb.BatchCommandsResponse.Response
Answer = Callable[[Codec, Any], Awaitable[Any]]


class BatchService:
    """The method of one store.

    Args:
        answer: (method, request) -> its answer; may raise Refused.
        wrong_cluster: why a request is not for this cluster, or empty.
        codecs: command's name -> its method, for all that are served.
    """

    def __init__(
        self, answer: Answer, wrong_cluster: Callable[[Any], str], codecs: Mapping[str, Codec]
    ) -> None:
        self._answer = answer
        self._wrong_cluster = wrong_cluster
        self._codecs = codecs

    def handler(self) -> Any:
        """For gRPC."""
        return stream(self.serve, tikvpb.BatchCommandsRequest)

    async def serve(self, frames: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """One stream, until the client ends it or says what cannot be."""
        calls = _Calls()
        reader = asyncio.create_task(self._read(frames, calls))
        try:
            while True:
                await calls.wait()
                if calls.wrong:
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, calls.wrong)
                if not calls.ready:
                    reader.result()  # a reader that failed is a stream that failed
                    return
                yield calls.frame()
        finally:
            reader.cancel()
            calls.cancel()

    async def _read(self, frames: AsyncIterator[Any], calls: _Calls) -> None:
        try:
            async for frame in frames:
                if len(frame.requests) != len(frame.request_ids):
                    calls.fail("as many request_ids as requests are needed")
                    return
                for request_id, element in zip(frame.request_ids, frame.requests, strict=True):
                    name = element.WhichOneof("cmd") or ""
                    wire = getattr(element, name) if name else None
                    if name in self._codecs and (wrong := self._wrong_cluster(wire)):
                        calls.fail(wrong)
                        return
                    await calls.room()
                    calls.begin(request_id, self._respond(name, wire))
        finally:
            calls.no_more()

    async def _respond(self, name: str, wire: Any) -> tuple[str, Any]:
        """A command's name and its answer; an element without a command gets neither."""
        if not name:
            return "", None
        if name == "Empty":
            await asyncio.sleep(wire.delay_time / 1000)
            return name, tikvpb.BatchCommandsEmptyResponse(test_id=wire.test_id)
        codec = self._codecs.get(name)
        if codec is None:
            kind = type(getattr(_Response(), name))
            told = refusal(kind, f"this store does not serve {name}")
        else:
            try:
                told = await self._answer(codec, wire)
            except Refused as refused:
                told = refusal(codec.answer.wire, str(refused))
        return name, told


class _Calls:
    """What one stream has in flight, and what of it is ready."""

    def __init__(self) -> None:
        self.ready: deque[tuple[int, tuple[str, Any]]] = deque()
        self.wrong = ""
        self._open = True
        self._tasks: dict[asyncio.Task[Any], int] = {}
        self._wake = asyncio.Event()
        self._room = asyncio.Event()

    async def room(self) -> None:
        """Until the client has read enough of what is ready."""
        while len(self.ready) >= IN_FLIGHT:
            self._room.clear()
            await self._room.wait()

    def begin(self, request_id: int, respond: Any) -> None:
        """A request has come."""
        if len(self._tasks) >= IN_FLIGHT:
            oldest = next(iter(self._tasks))
            del self._tasks[oldest]
            oldest.cancel()
        task = asyncio.create_task(respond)
        self._tasks[task] = request_id
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        request_id = self._tasks.pop(task, None)
        if request_id is not None and not task.cancelled():
            self.ready.append((request_id, task.result()))
        self._wake.set()

    def fail(self, wrong: str) -> None:
        """The stream is to end, with a reason."""
        self.wrong = wrong

    def no_more(self) -> None:
        """The client will send no more."""
        self._open = False
        self._wake.set()

    async def wait(self) -> None:
        """Until something is ready, or wrong, or nothing more will come."""
        while not (self.ready or self.wrong) and (self._open or self._tasks):
            self._wake.clear()
            await self._wake.wait()

    def frame(self) -> Any:
        """What is ready, as far as it fits."""
        frame = tikvpb.BatchCommandsResponse()
        size = 0
        while self.ready and len(frame.request_ids) < FRAME_ELEMENTS and size < FRAME_BYTES:
            request_id, (name, told) = self.ready.popleft()
            frame.request_ids.append(request_id)
            if name:
                size += told.ByteSize()
                frame.responses.add(**{name: told})
            else:
                frame.responses.add()
        self._room.set()
        return frame

    def cancel(self) -> None:
        """Give up all that is in flight."""
        tasks, self._tasks = self._tasks, {}
        for task in tasks:
            task.cancel()
