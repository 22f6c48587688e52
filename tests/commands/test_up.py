"""``splitbrain up`` as its user has it: a process, addresses on stdout, a client, and an end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitbrain.cluster.client.raw import RawClient
from splitbrain.cluster.client.txn import TxnClient
from splitbrain.cluster.rpc.caller import GrpcCaller
from splitbrain.env.random import Random
from splitbrain.substrates.heal import heal
from splitbrain.substrates.tools import procfs

pytestmark = pytest.mark.processes


class Clock:
    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Cluster:
    """A tool that serves, and what it has told."""

    def __init__(self, tool: Any, *words: object) -> None:
        self.child: subprocess.Popen[str] = tool.start("up", "--json", *words)
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        assert line, self.child.communicate()[1]
        self.told = json.loads(line)
        [link] = tool.links()
        self.label = link.stem
        self._links: Callable[[], list[Path]] = tool.links

    @property
    def nodes(self) -> list[int]:
        """Pids of the living."""
        return [
            one.pid
            for one in procfs.processes()
            if procfs.environment_of(one.pid).get(procfs.LABEL) == self.label
        ]

    def end(self, how: signal.Signals) -> tuple[int, str]:
        self.child.send_signal(how)
        _, err = self.child.communicate(timeout=20)
        return self.child.returncode, err

    def is_gone(self) -> bool:
        """No process, no link, no directory of its own."""
        place = Path(self.told["directory"])
        return not (self.nodes or self._links() or (place.exists() and list(place.iterdir())))

    def use(self, value: bytes | None = None) -> bytes | None:
        """Put ``value``, if there is one, and read the key, by the addresses that were told."""
        return asyncio.run(self._use(value))

    async def _use(self, value: bytes | None) -> bytes | None:
        stores: dict[str, str] = self.told["stores"]
        members = [node for node in stores if stores[node] in self.told["pd"]]
        caller, stream = GrpcCaller(stores, tuple(stores)), Random(1).stream("client")
        try:
            if self.told["mode"] == "raw":
                raw = RawClient(caller, Clock(), tuple(stores), stream, node="n1")
                if value is not None:
                    await raw.put(b"key", value)
                return await raw.get(b"key")
            client = TxnClient(caller, Clock(), members, stream)
            if value is not None:
                writing = await client.begin()
                await writing.put(b"key", value)
                await writing.commit()
            reading = await client.begin()
            seen = await reading.get(b"key")
            await reading.rollback()
            return seen
        finally:
            await caller.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def up(tool: Any) -> Iterator[Callable[..., Cluster]]:
    yield lambda *words: Cluster(tool, *words)
    for child in tool.started:
        child.kill()
        child.wait()
    heal(str(tool.state))


def test_a_client_commits_and_ctrl_c_leaves_nothing(up: Any) -> None:
    cluster = up()
    assert len(cluster.told["pd"]) == len(cluster.nodes) == 3
    assert cluster.use(b"1") == b"1"
    cluster.child.send_signal(signal.SIGINT)
    time.sleep(0.1)  # in the middle of its end, where a second signal must not disturb
    assert cluster.end(signal.SIGINT) == (0, "")
    assert not Path(cluster.told["directory"]).exists()
    assert cluster.is_gone()


def test_a_killed_tool_is_healed(up: Any, tool: Any) -> None:
    cluster = up("--mode", "raw", "--pds", "1")
    assert len(cluster.told["pd"]) == 1
    assert cluster.use(b"1") == b"1"
    cluster.end(signal.SIGKILL)
    assert len(cluster.nodes) == 3
    assert tool.call("heal").returncode == 0
    assert cluster.is_gone()


def test_a_directory_is_locked_kept_and_taken_up_again(
    up: Any, tool: Any, one_line: Callable[[Any], str]
) -> None:
    words = ("--stores", "1", "--pds", "1", "--dir", "mine")
    cluster = up(*words)
    assert cluster.use(b"1") == b"1"
    second = tool.call("up", *words)
    assert (second.returncode, second.stdout) == (4, "")
    assert "in use by another splitbrain up" in one_line(second)
    assert cluster.end(signal.SIGTERM) == (0, "")
    assert not cluster.nodes
    left = sorted(os.listdir(tool.directory / "mine"))
    assert left == ["config", "data", "events", "lock", "logs", "up.json"]
    other = tool.call("up", "--mode", "raw", *words)
    assert other.returncode == 2
    assert "--mode txn --stores 1 --pds 1" in one_line(other)
    again = up(*words, "--port-base", port := free_port())
    assert again.told["pd"] == [f"127.0.0.1:{port}"]
    assert again.use() == b"1"
    assert again.end(signal.SIGINT) == (0, "")


def test_a_taken_port_is_told(tool: Any, one_line: Callable[[Any], str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = tool.call("up", "--port-base", port - 1)
    assert done.returncode == 4
    assert "of 127.0.0.1 cannot be had: Address already in use" in one_line(done)
    assert not tool.links()


def test_lines_tell_of_leaders_and_of_a_node_that_ends(tool: Any, up: Any) -> None:
    child = tool.start("up", "--stores", "1", "--pds", "1")
    told = [child.stdout.readline() for _ in range(5)]
    assert told[0].startswith("PD       127.0.0.1:")
    assert "1 region  leaders n1 1  PD n1  " in told[4]
    [link] = tool.links()
    [node] = [
        one.pid
        for one in procfs.processes()
        if procfs.environment_of(one.pid).get(procfs.LABEL) == link.stem
    ]
    os.kill(node, signal.SIGKILL)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 4
    assert "node n1: ended, and all others too" in err
    assert not tool.links()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--stores", "2"), 2, "--pds 3 needs at least as many --stores"),
        (("--on", "docker"), 4, "not nodes on 'docker'"),
        (("--pds", "2"), 2, "'2' is not one of '1', '3'"),
    ],
)
def test_what_cannot_be_is_one_line(
    words: tuple[str, ...], code: int, says: str, invoke: Any, one_line: Callable[[Any], str]
) -> None:
    done = invoke("up", *words)
    assert done.exit_code == code
    assert says in one_line(done)
