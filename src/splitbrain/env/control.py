r"""The control socket: how a tool speaks to a node beside the network that it may have cut.

A node process listens on a unix socket in a directory of its own (mode 0700) and answers one JSON
object a line:

    -> {"id": 1, "verb": "status", "arguments": {}}
    <- {"id": 1, "ok": {"role": "leader", "term": 3}}
    -> {"id": 2, "verb": "transfer-leader", "arguments": {"to": "n9"}}
    <- {"id": 2, "error": "unknown peer 'n9'", "kind": "value"}

Requests of one connection are answered as they are ready, so a slow one (``echo``) holds up no
other.  The socket shares nothing with the data links: it goes on answering while they are cut.

Contract: :func:`control_call` raises ``ConnectionError`` where no process listens or it ended before
it answered, ``TimeoutError`` where no answer came in time (a stopped process accepts, and is
silent), and ``ValueError`` with the node's own sentence where the node refuses the verb or its
arguments.  ``handle`` of :class:`ControlServer` is called for each request, on the event loop;
``ValueError`` from it becomes a refusal, any other exception ends the node through ``crash``.
"""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["MAX_PATH_BYTES", "ControlServer", "check_path", "control_call"]

MAX_PATH_BYTES = 100
"""A unix socket's path has at most some 107 bytes; a margin is left for other systems."""

_LIMIT = 1 << 22

Handle = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
Crash = Callable[[BaseException], None]


class _Request(msgspec.Struct, frozen=True):
    id: int
    verb: str
    arguments: dict[str, Any] = {}


class _Response(msgspec.Struct, frozen=True, omit_defaults=True):
    id: int
    ok: dict[str, Any] | None = None
    error: str | None = None


_requests = msgspec.json.Decoder(_Request)
_responses = msgspec.json.Decoder(_Response)


def check_path(path: str) -> None:
    """Refuse a path that no unix socket can have, with the remedy.

    Raises:
        ValueError: it is too long.
    """
    length = len(path.encode())
    if length > MAX_PATH_BYTES:
        raise ValueError(
            f"control socket path of {length} bytes is too long (at most {MAX_PATH_BYTES}): {path}; "
            "put it in a directory with a short name, such as one made by tempfile.mkdtemp"
        )


class ControlServer:
    """The node's end of the control socket.

    Args:
        path: where to listen; its directory is made with mode 0700 if it is missing.
        handle: answers one request.
        crash: called with an exception that ``handle`` had no right to raise.
    """

    def __init__(self, path: str, handle: Handle, crash: Crash) -> None:
        check_path(path)
        self._path = Path(path)
        self._handle = handle
        self._crash = crash
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; a socket file that a killed node left behind is replaced."""
        directory = self._path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(self._path.lstat().st_mode):
                self._path.unlink()
        self._server = await asyncio.start_unix_server(
            self._serve, path=str(self._path), limit=_LIMIT, backlog=1024
        )
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening and remove the socket file."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while line := await _read_line(reader):
                task = asyncio.ensure_future(self._answer(line, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        response = await self._respond(line)
        if not writer.is_closing():
            writer.write(msgspec.json.encode(response) + b"\n")

    async def _respond(self, line: bytes) -> _Response:
        try:
            request = _requests.decode(line)
        except msgspec.DecodeError as error:
            return _Response(id=0, error=f"not a control request: {error}")
        try:
            answer = await self._handle(request.verb, request.arguments)
            return _Response(id=request.id, ok=dict(answer))
        except ValueError as error:
            return _Response(id=request.id, error=str(error))
        except Exception as error:  # noqa: BLE001 - told to the node's own crash handler
            self._crash(error)
            return _Response(id=request.id, error=f"the node crashed: {error!r}")


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """One line; empty at the end of the stream, also for a line cut short or beyond all bounds."""
    try:
        return await reader.readuntil(b"\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return b""


async def control_call(
    path: str, verb: str, arguments: Mapping[str, Any], timeout_s: float = 1.0
) -> Mapping[str, Any]:
    """Ask the control socket at ``path`` one thing, over a connection of its own.

    Example::

        status = await control_call("/tmp/run/n1.sock", "status", {})

    Raises:
        ConnectionError: nobody listens there, or the node ended before it answered.
        TimeoutError: no answer within ``timeout_s``; the node may have acted on the request.
        ValueError: the node refuses the verb or its arguments; the message is the node's.
    """
    check_path(path)
    async with asyncio.timeout(timeout_s):
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=_LIMIT)
        except FileNotFoundError as error:
            raise ConnectionRefusedError(f"no control socket at {path}") from error
        try:
            request = _Request(id=1, verb=verb, arguments=dict(arguments))
            writer.write(msgspec.json.encode(request) + b"\n")
            line = await _read_line(reader)
        finally:
            writer.close()
    if not line:
        raise ConnectionResetError(f"the node at {path} ended before it answered {verb!r}")
    response = _responses.decode(line)
    if response.error is not None:
        raise ValueError(response.error)
    return response.ok or {}
