"""Store processes on loopback, for tests that need real ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from splitbrain.env.control import control_call

__all__ = ["Cluster", "find_port"]


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Cluster:
    """Store processes on loopback; each is ended by its pid.

    Args:
        directory: for configurations, data and logs.
        size: how many.
        program: python's arguments before that of the configuration.
    """

    def __init__(
        self,
        directory: Path,
        size: int = 3,
        program: tuple[str, ...] = ("-m", "splitbrain.cluster.node"),
    ) -> None:
        self.directory = directory
        self._program = program
        self._sockets = tempfile.TemporaryDirectory(prefix="sb")
        self.nodes = tuple(f"n{number}" for number in range(1, size + 1))
        self.addresses = {node: f"127.0.0.1:{find_port()}" for node in self.nodes}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def config(self, node: str, **more: Any) -> dict[str, Any]:
        store = {"node": node, "nodes": self.nodes, "scale": 1 / 3}
        store |= more.pop("store", {})
        return {
            "store": store,
            "addresses": self.addresses,
            "data_dir": str(self.directory / node),
            "control": self.control(node),
            "events": str(self.directory / f"{node}.events.jsonl"),
            **more,
        }

    def control(self, node: str) -> str:
        return f"{self._sockets.name}/{node}.sock"

    def start(self, node: str, **more: Any) -> subprocess.Popen[bytes]:
        path = self.directory / f"{node}.json"
        path.write_text(json.dumps(self.config(node, **more)))
        with open(self.directory / f"{node}.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, *self._program, str(path)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes[node] = process
        return process

    def kill(self, node: str, number: int = signal.SIGKILL) -> int:
        process = self.processes[node]
        os.kill(process.pid, number)
        return process.wait(timeout=10)

    def log(self, node: str) -> str:
        return (self.directory / f"{node}.log").read_text()

    async def ask(self, node: str, verb: str, within_s: float = 2.0, **more: Any) -> Any:
        return await control_call(self.control(node), verb, more, within_s)

    async def ready(self, node: str, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                await self.ask(node, "ping")
                return
            except (OSError, ValueError):
                assert self.processes[node].poll() is None, self.log(node)
                assert time.monotonic() < deadline, self.log(node)
                await asyncio.sleep(0.02)

    async def leader(self, timeout_s: float = 20.0, without: str = "") -> str:
        """The node that leads and that a majority follows."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            seen: list[str] = []
            for node, process in self.processes.items():
                if node != without and process.poll() is None:
                    with contextlib.suppress(OSError, ValueError):
                        seen.append((await self.ask(node, "status")).get("leader", ""))
            for node in self.nodes:
                if node != without and 2 * seen.count(node) > len(self.nodes):
                    return node
            await asyncio.sleep(0.02)
        raise AssertionError(f"no leader within {timeout_s} s")

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
            process.wait(timeout=10)
        self._sockets.cleanup()
