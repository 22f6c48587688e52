"""The client's ends of two streams: ``BatchCommands`` of a store, ``Tso`` of the placement driver.

Requests are queued and written by one task, so that those which came together share a frame; answers
are matched by their id (BatchCommands) or by their order (Tso).  When a stream ends, whoever waits for
an answer gets an EOFError, for what was written may have arrived; the next call opens a new stream.
A time-out is the caller's own: a late answer finds nobody, and is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from typing import Any

import grpc
import grpc.aio

from splitbrain.cluster.rpc import pdpb_pb2 as pdpb
from splitbrain.cluster.rpc import tikvpb_pb2 as tikvpb

__all__ = ["BATCH_PATH", "FRAME_ELEMENTS", "BatchStream", "Stream", "TsoStream"]

BATCH_PATH = "/tikvpb.Tikv/BatchCommands"
TSO_PATH = "/pdpb.PD/Tso"
_END: Any = vars(grpc.aio)["EOF"]
FRAME_ELEMENTS = 128
"""Requests of one frame, at most; as TiKV's own client has it."""


class Stream(ABC):
    """One stream to one node; a subclass says how requests and answers are packed.

    Args:
        node: for messages of errors.
        call: gRPC's call, just made.
    """

    def __init__(self, node: str, call: Any) -> None:
        self.over = False
        self._node = node
        self._call = call
        self._wake = asyncio.Event()
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]

    async def close(self) -> None:
        """End it; whoever waits gets an EOFError."""
        self._end(None)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wait(self, future: asyncio.Future[Any], timeout_s: float) -> Any:
        self._wake.set()
        # One timer, and no waiter between the answer and its caller, as wait_for would put there.
        timer = asyncio.get_running_loop().call_later(timeout_s, self._late, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _late(self, future: asyncio.Future[Any]) -> None:
        if not future.done():
            future.set_exception(TimeoutError(f"{self._node}: no answer in time"))

    async def _write(self) -> None:
        # A stream that ended is the reader's to tell.
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            while True:
                while (frame := self._take()) is None:
                    self._wake.clear()
                    await self._wake.wait()
                await self._call.write(frame)

    async def _read(self) -> None:
        cause: BaseException | None = None
        try:
            while (frame := await self._call.read()) is not _END:
                self._arrived(frame)
        except (grpc.RpcError, asyncio.CancelledError) as error:
            cause = error
        finally:
            self._end(cause)

    def _end(self, cause: BaseException | None) -> None:
        if self.over:
            return
        self.over = True
        self._call.cancel()
        self._tasks[0].cancel()
        for future in self._left():
            if not future.done():
                future.set_exception(self._error(cause))

    def _error(self, cause: BaseException | None) -> Exception:
        if isinstance(cause, grpc.RpcError):
            said: Any = cause
            error = EOFError(f"{self._node}: {said.code().name}: {said.details()}")
            error.__cause__ = cause
            return error
        return EOFError(f"{self._node}: the stream has ended")

    # -- for the subclass ------------------------------------------------------------------------

    @abstractmethod
    def _take(self) -> Any:
        """The next frame to be written; None: nothing waits."""

    @abstractmethod
    def _arrived(self, frame: Any) -> None:
        """Match a frame with those who wait."""

    @abstractmethod
    def _left(self) -> list[asyncio.Future[Any]]:
        """All who wait, to be forgotten."""


class BatchStream(Stream):
    """``BatchCommands`` to one store."""

    def __init__(self, node: str, channel: Any) -> None:
        self._queue: deque[tuple[int, str, Any]] = deque()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        call = channel.stream_stream(
            BATCH_PATH,
            request_serializer=tikvpb.BatchCommandsRequest.SerializeToString,
            response_deserializer=tikvpb.BatchCommandsResponse.FromString,
        )
        super().__init__(node, call())

    async def ask(self, command: str, request: Any, *, timeout_s: float) -> Any:
        """The answer's message to a request's.

        Raises:
            TimeoutError: none came in time.
            EOFError: the stream has ended; or the store has no such command.
        """
        self._number += 1
        number = self._number
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._queue.append((number, command, request))
        try:
            answer = await self._wait(future, timeout_s)
        finally:
            self._waiting.pop(number, None)
        if answer.WhichOneof("cmd") != command:
            raise EOFError(
                f"{self._node}: the answer to {command} is {answer.WhichOneof('cmd')}"
            )
        return getattr(answer, command)

    def _take(self) -> Any:
        if not self._queue:
            return None
        frame = tikvpb.BatchCommandsRequest()
        while self._queue and len(frame.request_ids) < FRAME_ELEMENTS:
            number, command, request = self._queue.popleft()
            frame.request_ids.append(number)
            frame.requests.add(**{command: request})
        return frame

    def _arrived(self, frame: Any) -> None:
        for number, answer in zip(frame.request_ids, frame.responses, strict=False):
            future = self._waiting.get(number)
            if future is not None and not future.done():
                future.set_result(answer)

    def _left(self) -> list[asyncio.Future[Any]]:
        waiting, self._waiting = self._waiting, {}
        return list(waiting.values())


class TsoStream(Stream):
    """``Tso`` to one member of the placement driver."""

    def __init__(self, node: str, channel: Any) -> None:
        self._queue: deque[Any] = deque()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        call = channel.stream_stream(
            TSO_PATH,
            request_serializer=pdpb.TsoRequest.SerializeToString,
            response_deserializer=pdpb.TsoResponse.FromString,
        )
        super().__init__(node, call())

    async def ask(self, request: Any, *, timeout_s: float) -> Any:
        """The answer's message to a request's.

        Raises:
            TimeoutError: none came in time.
            EOFError: the stream has ended.
        """
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._queue.append(request)
        return await self._wait(future, timeout_s)

    def _take(self) -> Any:
        return self._queue.popleft() if self._queue else None

    def _arrived(self, frame: Any) -> None:
        if self._waiting:
            future = self._waiting.popleft()  # one that gave up has kept its place
            if not future.done():
                future.set_result(frame)

    def _left(self) -> list[asyncio.Future[Any]]:
        waiting, self._waiting = self._waiting, deque()
        return list(waiting)
