"""Nodes that are network namespaces on a bridge, the bridge in a namespace of its own.

(A bridge in the root namespace may pass nothing where a container engine filters what is forwarded.)
Each namespace is held by a sleeping child process, so that it is gone when that is.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from splitbrain.contracts.journal import NullJournal
from splitbrain.env.random import Random
from splitbrain.substrates.packets.client import Agent, namespace_argv
from splitbrain.substrates.packets.net import PacketNet

CLONE_NEWNET = 0x40000000
NODES = ("n1", "n2", "n3", "n4", "n5")


def why_not() -> str:
    if os.geteuid() != 0:
        return "network namespaces need root: run these tests as root"
    for tool in ("ip", "nsenter", "unshare", "iptables"):
        if shutil.which(tool) is None:
            return f"install {tool}"
    done = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "this machine lets nobody make network namespaces"


class Namespace:
    """A network namespace, held by a child process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["unshare", "-n", "sleep", "3600"])
        own = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 10
        while os.readlink(f"/proc/{self.pid}/ns/net") == own:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    @property
    def pid(self) -> int:
        return self.process.pid

    def run(self, *argv: str, text: str = "") -> str:
        command = ["nsenter", f"--net=/proc/{self.pid}/ns/net", *argv]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def rules(self) -> str:
        """What is left of ours in any table."""
        saved = self.run("iptables-save") + self.run("iptables-legacy-save")
        return "\n".join(line for line in saved.splitlines() if "SPLITBRAIN" in line)

    def queues(self) -> str:
        return self.run("cat", "/proc/net/netfilter/nfnetlink_queue")

    def socket(self, kind: socket.SocketKind) -> socket.socket:
        """A socket that lives in the namespace, whoever uses it."""
        made: list[socket.socket] = []

        def make() -> None:  # in a thread of its own, which alone changes over
            libc = ctypes.CDLL(None, use_errno=True)
            handle = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
            if libc.setns(handle, CLONE_NEWNET) == 0:
                made.append(socket.socket(socket.AF_INET, kind))
            os.close(handle)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        (one,) = made
        one.setblocking(False)
        return one

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class End:
    """A node as ``PacketNet`` sees it."""

    def __init__(self, name: str, ip: str, space: Namespace) -> None:
        self.name, self.ip, self.space = name, ip, space
        self.agent: Agent | None = None
        self.up = True


class Lab:
    """Five namespaces and this process on one bridge."""

    def __init__(self) -> None:
        subnet = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.gateway = f"{subnet}.254"
        self.link = f"sb{os.getpid()}"
        self.spaces = [Namespace()]
        self.bridge = self.spaces[0]
        self.bridge.run("ip", "link", "add", "br0", "type", "bridge")
        self.bridge.run("ip", "link", "set", "br0", "up")
        self.ends = {}
        for number, name in enumerate(NODES, start=1):
            space = Namespace()
            self.spaces.append(space)
            ip = f"{subnet}.{number}"
            self._plug(f"v{number}", "eth0", space.pid)
            self._up(space, "eth0", ip)
            self.ends[name] = End(name, ip, space)
        self._plug("v0", self.link, os.getpid())
        subprocess.run(
            ["ip", "-batch", "-"], input=_up(self.link, self.gateway), text=True, check=True
        )

    def _plug(self, near: str, far: str, pid: int) -> None:
        self.bridge.run(
            "ip",
            "-batch",
            "-",
            text=f"link add {near} type veth peer name {far} netns {pid}\n"
            f"link set {near} master br0\nlink set {near} up\n",
        )

    def _up(self, space: Namespace, name: str, ip: str) -> None:
        space.run("ip", "-batch", "-", text=_up(name, ip) + "link set lo up\n")

    def close(self) -> None:
        for space in self.spaces:
            space.close()
        subprocess.run(["ip", "link", "del", self.link], capture_output=True, check=False)

    @contextlib.asynccontextmanager
    async def net(
        self,
        directory: Path,
        *,
        nodes: Sequence[str] = NODES,
        seed: int = 7,
        beat_ms: float = 50,
    ) -> AsyncIterator[PacketNet]:
        """Agents in these nodes, and the net that they make."""
        ends = {name: self.ends[name] for name in nodes}
        net = PacketNet(
            ends,
            client=dict.fromkeys(ends, self.gateway),
            random=Random(seed),
            label=f"packets-{os.getpid()}",
            journal=NullJournal(),
            beat_ms=beat_ms,
        )
        try:
            await asyncio.gather(*(self.start(end, directory) for end in ends.values()))
            for name in ends:
                await net.restored(name)
            yield net
        finally:
            await net.close()
            for end in ends.values():
                if end.agent is not None:
                    await end.agent.close()
                    end.agent = None
                end.up = True

    async def start(self, end: End, directory: Path) -> None:
        end.agent = await Agent.start(
            namespace_argv(end.space.pid),
            target=f"agent of {end.name}",
            label=f"packets-{os.getpid()}",
            journal=NullJournal(),
            log=str(directory / f"{end.name}.log"),
        )


def _up(name: str, ip: str) -> str:
    return f"addr add {ip}/24 dev {name}\nlink set {name} up\n"


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    if why := why_not():
        pytest.skip(why)
    made = Lab()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test in the lab no namespace has a rule or a queue of ours."""
    yield
    if "lab" in request.fixturenames:
        made: Lab = request.getfixturevalue("lab")
        for end in made.ends.values():
            assert end.space.rules() == ""
            assert end.space.queues() == ""
