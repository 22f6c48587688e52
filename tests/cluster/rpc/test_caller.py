"""What our client may believe after a call that failed: above all, when nothing was sent."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from splitbrain.cluster import messages as m
from splitbrain.cluster.rpc.caller import GrpcCaller

PUT = m.RawPut(key=b"k", value=b"v")
SETTINGS, SETTINGS_ACK = b"\0\0\0\x04\0\0\0\0\0", b"\0\0\0\x04\x01\0\0\0\0"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, DATA = 1, 0


class FakeHttp2:
    """A server that speaks just enough HTTP/2 to take a request, and then does as it is told."""

    def __init__(self, then: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
        self.requests = 0
        self.connections = 0
        self._then = then
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self.address = ""

    async def start(self) -> FakeHttp2:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0.01)  # for connections that were just accepted
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        try:
            assert await reader.readexactly(len(PREFACE)) == PREFACE
            writer.write(SETTINGS + SETTINGS_ACK)
            while True:
                head = await reader.readexactly(9)
                length, kind, flags = struct.unpack("!I", b"\0" + head[:3])[0], head[3], head[4]
                await reader.readexactly(length)
                if kind == DATA and flags & 1:  # the request is here, whole
                    self.requests += 1
                    await self._then(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()


async def fails(caller: GrpcCaller, timeout_s: float = 1.0) -> Exception:
    try:
        answer = await caller.call("n1", PUT, timeout_s=timeout_s)
    except (OSError, EOFError) as error:
        return error
    raise AssertionError(f"it was answered: {answer}")


def test_a_call_is_answered(kit: Any) -> None:
    answers = {
        m.RawGet: m.RawGetReply(value=b"v"),
        m.RawPut: m.RawPutReply(error=m.NotLeader(leader="n2", peer_id=5)),
        m.RawDelete: m.RawDeleteReply(),
        m.RawCas: m.RawCasReply(succeed=False, previous=b"x"),
        m.RawScan: m.RawScanReply(pairs=((b"a", b"1"),)),
    }

    async def main() -> None:
        addresses = {"n1": f"127.0.0.1:{kit.find_port()}", "n2": "127.0.0.1:1"}
        node = kit.toy("n1", addresses, answer=lambda request: answers[type(request)])
        caller = GrpcCaller(addresses, ("n1", "n2"))
        async with kit.opened(node, caller):
            await node.start()
            for request in (
                m.RawGet(key=b"k"),
                PUT,
                m.RawDelete(key=b"k"),
                m.RawCas(key=b"k", previous=None, value=b"v"),
                m.RawScan(start=b""),
            ):
                answer = await caller.call("n1", request, timeout_s=2.0)
                assert answer == answers[type(request)]
                assert node.received[-1][1] == request
            assert len({sender for sender, _ in node.received}) == 5

    asyncio.run(main())


def test_nobody_listens_is_a_connection_error(kit: Any) -> None:
    async def main() -> None:
        caller = GrpcCaller({"n1": f"127.0.0.1:{kit.find_port()}"}, ("n1",))
        async with kit.opened(caller):
            begun = time.monotonic()
            for _ in range(20):
                assert isinstance(await fails(caller), ConnectionError)
            assert time.monotonic() - begun < 2  # told at once, not after the timeout

    asyncio.run(main())


def test_a_listener_that_never_speaks_is_a_connection_error(kit: Any) -> None:
    """The connection is never made as far as HTTP/2 goes, so nothing can have been sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def main() -> None:
            caller = GrpcCaller({"n1": f"127.0.0.1:{listener.getsockname()[1]}"}, ("n1",))
            async with kit.opened(caller):
                assert isinstance(await fails(caller, 0.3), ConnectionError)

        asyncio.run(main())
        connection, _ = listener.accept()
        with connection:
            got = connection.recv(1 << 16)
        assert got.startswith(PREFACE)
        assert b"RawPut" not in got


def test_a_server_that_takes_the_request_and_closes_is_an_eof_error(kit: Any) -> None:
    """The dangerous case: gRPC says UNAVAILABLE, as for a refused connection."""

    async def main() -> None:
        async def close(writer: asyncio.StreamWriter) -> None:
            writer.close()

        async def reset(writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        for then in (close, reset):
            server = await FakeHttp2(then).start()
            caller = GrpcCaller({"n1": server.address}, ("n1",))
            async with kit.opened(caller, server):
                for number in range(1, 6):
                    error = await fails(caller)
                    if server.requests == number:
                        assert isinstance(error, EOFError), error
                    else:  # it came upon the closed connection
                        assert isinstance(error, ConnectionError | EOFError)
                        break
                assert server.requests >= 1

    asyncio.run(main())


def test_no_request_is_ever_sent_twice(kit: Any) -> None:
    """Each request that the server saw is one call, and each such call is not a ConnectionError."""

    async def main() -> None:
        async def reset(writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        server = await FakeHttp2(reset).start()
        caller = GrpcCaller({"n1": server.address}, ("n1",))
        unsure = 0
        async with kit.opened(caller, server):
            for _ in range(25):
                unsure += not isinstance(await fails(caller), ConnectionError)
                await asyncio.sleep(0.02)
        assert 1 <= server.requests <= unsure

    asyncio.run(main())


def test_silence_is_a_timeout(kit: Any) -> None:
    async def main() -> None:
        async def nothing(_: asyncio.StreamWriter) -> None:
            """Say nothing."""

        server = await FakeHttp2(nothing).start()
        caller = GrpcCaller({"n1": server.address}, ("n1",))
        async with kit.opened(caller, server):
            begun = time.monotonic()
            assert isinstance(await fails(caller, 0.3), TimeoutError)
            assert 0.25 < time.monotonic() - begun < 1.5
            assert server.requests == 1

    asyncio.run(main())


def test_close_ends_an_open_call_as_unknown_and_cancels_nobody(kit: Any) -> None:
    async def main() -> None:
        taken = asyncio.Event()

        async def take(_: asyncio.StreamWriter) -> None:
            taken.set()

        server = await FakeHttp2(take).start()
        caller = GrpcCaller({"n1": server.address}, ("n1",))
        async with kit.opened(caller, server):
            call = asyncio.create_task(caller.call("n1", PUT, timeout_s=5.0))
            await taken.wait()
            await caller.close()
            with pytest.raises(EOFError, match="was closed"):
                await call
            taken.clear()
            call = asyncio.create_task(caller.call("n1", PUT, timeout_s=5.0))
            await taken.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(main())


def test_a_connection_that_goes_dumb_is_given_up_by_keepalive(kit: Any) -> None:
    """A long call must not wait its whole deadline for a peer that is gone: its fate is unknown."""

    async def main() -> None:
        async def nothing(_: asyncio.StreamWriter) -> None:
            """Answer neither the request nor pings."""

        server = await FakeHttp2(nothing).start()
        caller = GrpcCaller({"n1": server.address}, ("n1",))
        async with kit.opened(caller, server):
            begun = time.monotonic()
            assert isinstance(await fails(caller, 30.0), EOFError)
            assert time.monotonic() - begun < 5

    asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, ConnectionError),
        (grpc.StatusCode.UNAVAILABLE, EOFError),
        (grpc.StatusCode.CANCELLED, EOFError),
        (grpc.StatusCode.UNKNOWN, EOFError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, EOFError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, TimeoutError),
    ],
)
def test_statuses_of_a_server(kit: Any, code: grpc.StatusCode, kind: type[Exception]) -> None:
    async def main() -> None:
        async def refuse(_: Any, context: Any) -> Any:
            await context.abort(code, "failed to connect to all addresses")

        server: Any = grpc.aio.server()
        handlers = {"RawPut": grpc.unary_unary_rpc_method_handler(refuse)}
        handler = grpc.method_handlers_generic_handler("tikvpb.Tikv", handlers)
        server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        caller = GrpcCaller({"n1": f"127.0.0.1:{port}"}, ("n1",))
        assert isinstance(await fails(caller), kind)
        await caller.close()
        await server.stop(None)

    asyncio.run(main())


def test_a_node_that_comes_back_is_used_within_a_second(kit: Any) -> None:
    async def main() -> None:
        addresses = {"n1": f"127.0.0.1:{kit.find_port()}"}
        caller = GrpcCaller(addresses, ("n1",))
        first = kit.toy("n1", addresses, answer=lambda _: m.RawPutReply())
        await first.start()
        await caller.call("n1", PUT, timeout_s=1.0)
        await first.close()
        begun = time.monotonic()
        while time.monotonic() - begun < 2.0:
            assert isinstance(await fails(caller), ConnectionError | EOFError)
            await asyncio.sleep(0.02)
        again = kit.toy("n1", addresses, answer=lambda _: m.RawPutReply())
        async with kit.opened(again, caller):
            await again.start()
            returned = time.monotonic()
            while True:
                try:
                    await caller.call("n1", PUT, timeout_s=1.0)
                    break
                except ConnectionError:
                    await asyncio.sleep(0.01)
            assert time.monotonic() - returned < 1.0

    asyncio.run(main())
