"""The control socket: answers, refusals, and the three ways in which no answer comes."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from splitbrain.env.control import ControlServer, check_path, control_call


class Toy:
    """Answers a few verbs, and remembers what crashed it."""

    def __init__(self) -> None:
        self.crashes: list[BaseException] = []
        self.release = asyncio.Event()

    async def handle(self, verb: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if verb == "add":
            return {"sum": arguments["a"] + arguments["b"]}
        if verb == "wait":
            await self.release.wait()
            return {"waited": True}
        if verb == "bug":
            raise RuntimeError("a bug of the node")
        raise ValueError(f"unknown verb {verb!r}; known: add, wait")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "c" / "n1.sock")


async def serve(path: str) -> tuple[ControlServer, Toy]:
    toy = Toy()
    server = ControlServer(path, toy.handle, toy.crashes.append)
    await server.start()
    return server, toy


def test_a_call_is_answered(path: str) -> None:
    async def main() -> None:
        server, _ = await serve(path)
        assert await control_call(path, "add", {"a": 1, "b": 2}) == {"sum": 3}
        await server.close()

    asyncio.run(main())


def test_a_refusal_keeps_the_nodes_own_sentence(path: str) -> None:
    async def main() -> None:
        server, toy = await serve(path)
        with pytest.raises(ValueError, match=r"^unknown verb 'fly'; known: add, wait$"):
            await control_call(path, "fly", {})
        assert toy.crashes == []
        await server.close()

    asyncio.run(main())


def test_a_bug_of_the_node_is_told_to_its_crash_handler(path: str) -> None:
    async def main() -> None:
        server, toy = await serve(path)
        with pytest.raises(ValueError, match="crashed"):
            await control_call(path, "bug", {})
        assert [str(error) for error in toy.crashes] == ["a bug of the node"]
        await server.close()

    asyncio.run(main())


def test_a_slow_request_holds_up_no_other(path: str) -> None:
    async def main() -> None:
        server, toy = await serve(path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"id": 1, "verb": "wait"}\n')
        writer.write(b'{"id": 2, "verb": "add", "arguments": {"a": 1, "b": 1}}\n')
        assert await reader.readline() == b'{"id":2,"ok":{"sum":2}}\n'
        toy.release.set()
        assert await reader.readline() == b'{"id":1,"ok":{"waited":true}}\n'
        writer.close()
        await server.close()

    asyncio.run(main())


def test_a_line_that_is_no_request_is_refused_and_the_connection_goes_on(path: str) -> None:
    async def main() -> None:
        server, _ = await serve(path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello\n" + b'{"id": 2, "verb": "add", "arguments": {"a": 1, "b": 1}}\n')
        lines = {await reader.readline(), await reader.readline()}
        assert b'{"id":2,"ok":{"sum":2}}\n' in lines
        assert any(b"not a control request" in line for line in lines)
        writer.close()
        await server.close()

    asyncio.run(main())


def test_nobody_there_is_a_connection_error(path: str, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionError):
            await control_call(path, "add", {})
        server, _ = await serve(path)
        await server.close()
        with pytest.raises(ConnectionError):
            await control_call(path, "add", {})

    asyncio.run(main())
    assert not os.path.exists(path)


def test_a_killed_nodes_socket_file_refuses_and_is_replaced(path: str) -> None:
    async def main() -> None:
        server, _ = await serve(path)
        assert server._server is not None
        # A killed process removes nothing: put the file back that an orderly end took away.
        kept = path + ".kept"
        os.link(path, kept)
        await server.close()
        os.rename(kept, path)
        with pytest.raises(ConnectionError):
            await control_call(path, "add", {})
        again, _ = await serve(path)
        assert await control_call(path, "add", {"a": 1, "b": 2}) == {"sum": 3}
        await again.close()

    asyncio.run(main())


def test_silence_is_a_timeout(path: str) -> None:
    async def main() -> None:
        server, _ = await serve(path)
        with pytest.raises(TimeoutError):
            await control_call(path, "wait", {}, timeout_s=0.1)
        await server.close()

    asyncio.run(main())


def test_an_end_before_the_answer_is_a_connection_error(path: str) -> None:
    async def main() -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.close()

        os.makedirs(os.path.dirname(path))
        server = await asyncio.start_unix_server(hang_up, path)
        with pytest.raises(ConnectionError, match="before it answered 'add'"):
            await control_call(path, "add", {})
        server.close()

    asyncio.run(main())


def test_the_directory_is_private(path: str) -> None:
    async def main() -> None:
        server, _ = await serve(path)
        assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        await server.close()

    asyncio.run(main())


def test_a_path_too_long_for_a_socket_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="short name"):
        check_path("/" + "x" * 120)
