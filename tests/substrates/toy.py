"""A toy node: a shell over Env for ``sim``, and the same as a process, with one data link a peer.

As a process: ``python toy.py CONFIG.json`` with {node, peers, listen, links, data, control}.
Its data links are TCP connections that carry one JSON object a line; it also answers HTTP/2 pings.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.env import Env
from splitbrain.env.control import ControlServer
from splitbrain.env.links import LinkCounts
from splitbrain.env.real import RealEnv, crash
from splitbrain.env.verbs import Verbs


class Tick(msgspec.Struct, frozen=True):
    number: int


class ToyShell:
    """Says hello to every peer now and then, and counts what it hears."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self.ticks = 0
        self.heard: dict[str, int] = {}
        self.synced = 0

    def start(self) -> None:
        self.env.event("started", ticks=self.ticks)
        self.env.log("toy started")
        self.tick()

    def tick(self) -> None:
        self.ticks += 1
        for peer in self.env.peers:
            if peer != self.env.node:
                self.env.transport.send(peer, Tick(self.ticks))
        self.env.clock.call_at(self.env.clock.monotonic_ns() + 100_000_000, self.tick)

    def on_message(self, sender: str, message: Any) -> None:
        self.heard[sender] = self.heard.get(sender, 0) + 1

    def status(self) -> Mapping[str, Any]:
        return {"ticks": self.ticks, "heard": dict(self.heard), "synced": self.synced}

    def control(self, verb: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if verb == "crash":
            raise AssertionError("the toy was told to crash")
        if verb == "write":
            self.env.disk.append("file", arguments["text"].encode())
            if arguments.get("sync"):
                self.env.disk.fsync("file", self.did_sync)
            return {}
        if verb == "read":
            return {"text": self.env.disk.read("file").decode()}
        raise ValueError(f"unknown verb {verb!r}")

    def did_sync(self, error: Exception | None) -> None:
        assert error is None
        self.synced += 1


class ToyLinks:
    """One outgoing connection a peer, dialled again whenever it is gone."""

    def __init__(self, env: RealEnv, addresses: Mapping[str, str]) -> None:
        self.env = env
        self.addresses = addresses
        self.writers: dict[str, asyncio.StreamWriter] = {}
        self.seen: dict[int, int] = {}
        self.echoes: dict[int, asyncio.Future[None]] = {}
        self.late: dict[str, list[tuple[float, bytes]]] = {}
        self.sent = dict.fromkeys(addresses, 0)
        self.received = dict.fromkeys(addresses, 0)
        self.lateness = dict.fromkeys(addresses, 0)
        self.tasks = [asyncio.ensure_future(self.dial(peer)) for peer in addresses]

    async def dial(self, peer: str) -> None:
        host, _, port = self.addresses[peer].rpartition(":")
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(host, int(port))
                self.writers[peer] = writer
                for until, line in self.late.pop(peer, []):
                    if time.monotonic() < until:
                        writer.write(line)
                await reader.read()
                del self.writers[peer]
                writer.close()
            await asyncio.sleep(0.05)

    def put(self, peer: str, wait_s: float = 0.0, **message: Any) -> bool:
        line = json.dumps({"from": self.env.node, "at": time.monotonic_ns(), **message})
        data = line.encode() + b"\n"
        writer = self.writers.get(peer)
        self.sent[peer] += 1
        if writer is not None:
            writer.write(data)
        elif wait_s:
            self.late.setdefault(peer, []).append((time.monotonic() + wait_s, data))
        return writer is not None

    def send(self, to: str, message: Any) -> None:
        self.put(to, kind="tick", number=message.number)

    def probe_send(self, to: str, nonce: int, wait_s: float) -> bool:
        return self.put(to, wait_s, kind="probe", nonce=nonce)

    def probe_seen(self, nonce: int) -> int | None:
        return self.seen.get(nonce)

    async def echo(self, to: str, timeout_s: float) -> float | None:
        number = time.monotonic_ns()
        self.echoes[number] = asyncio.get_running_loop().create_future()
        self.put(to, timeout_s, kind="echo", number=number)
        try:
            await asyncio.wait_for(self.echoes[number], timeout_s)
        except TimeoutError:
            return None
        finally:
            del self.echoes[number]
        return (time.monotonic_ns() - number) / 1e6

    def counts(self) -> Mapping[str, LinkCounts]:
        return {
            peer: LinkCounts(
                sent=self.sent[peer],
                received=self.received[peer],
                lateness_ns=self.lateness[peer],
                connected=peer in self.writers,
            )
            for peer in self.addresses
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
            first = await reader.readexactly(4)
            if first == b"PRI ":
                await self.http2(reader, writer)
            while line := first + await reader.readline():
                first = b""
                self.take(json.loads(line))
        writer.close()

    def take(self, message: dict[str, Any]) -> None:
        sender = message["from"]
        self.received[sender] += 1
        self.lateness[sender] += time.monotonic_ns() - message["at"]
        kind = message["kind"]
        if kind == "tick":
            self.env.receive(sender, Tick(message["number"]))
        elif kind == "probe":
            self.seen[message["nonce"]] = time.monotonic_ns()
        elif kind == "echo":
            self.put(sender, 2.0, kind="echoed", number=message["number"])
        elif message["number"] in self.echoes and not self.echoes[message["number"]].done():
            self.echoes[message["number"]].set_result(None)

    async def http2(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Just enough: settings at once, an answer to each ping."""
        writer.write(b"\0\0\0\x04\0\0\0\0\0")
        await reader.readexactly(20)
        while True:
            head = await reader.readexactly(9)
            size, kind = int.from_bytes(head[:3], "big"), head[3]
            body = await reader.readexactly(size)
            if kind == 6:
                writer.write(struct.pack("!I", 8)[1:] + bytes([6, 1]) + bytes(4) + body)


async def main(config: dict[str, Any]) -> None:
    if config.get("grandchild"):
        await asyncio.create_subprocess_exec("sleep", "600")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)
    if config.get("exit") is not None:
        sys.stdout.write("the toy has no wish to live\n")
        sys.exit(config["exit"])
    env = RealEnv(
        node=config["node"],
        peers=tuple(config["peers"]),
        data_dir=config["data"],
        power=config["power"],
        events=os.environ["SPLITBRAIN_EVENTS"],
    )
    links = ToyLinks(env, config["links"])
    env.transport = links
    host, _, port = config["listen"].rpartition(":")
    await asyncio.start_server(links.serve, host, int(port))
    shell = ToyShell(env)
    env.attach(shell)
    await ControlServer(config["control"], Verbs(env, links).handle, crash).start()
    shell.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        asyncio.run(main(json.load(file)))
