"""The placement driver in three processes, asked by our client and by TiKV's, while its leader dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splitbrain.cluster.messages import pd, pd_stores
from splitbrain.cluster.messages.pd_errors import PdBusy, PdNotLeader, PdRegionNotFound
from splitbrain.cluster.messages.pd_types import StoreMeta, compose_ts
from splitbrain.cluster.messages.region import Peer, Region
from splitbrain.cluster.rpc.caller import GrpcCaller
from tests.cluster.rpc.processes import find_port

from .conftest import ForeignError

pytestmark = [pytest.mark.processes, pytest.mark.interop]

NODES = ("n1", "n2", "n3")
REGION = Region(1, peers=tuple(Peer(number, number) for number in (1, 2, 3)))
PATIENCE_S = 20.0


class Driver:
    """Three member processes; each is ended by its pid."""

    def __init__(self, directory: Path) -> None:
        self.addresses = {node: f"127.0.0.1:{find_port()}" for node in NODES}
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        script = str(Path(__file__).parent / "pd_member.py")
        for node in NODES:
            with open(self._directory / f"{node}.log", "ab") as log:
                self._processes[node] = subprocess.Popen(
                    [
                        sys.executable,
                        script,
                        node,
                        json.dumps(self.addresses),
                        str(self._directory / node),
                    ],
                    stdout=log,
                    stderr=log,
                )

    def kill(self, node: str) -> None:
        os.kill(self._processes[node].pid, signal.SIGKILL)
        self._processes[node].wait(timeout=10)

    def close(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
            process.wait(timeout=10)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    made = Driver(tmp_path)
    made.start()
    yield made
    made.close()


async def ask(caller: GrpcCaller, request: Any) -> tuple[str, Any]:
    """The answer of whoever leads, and who that was."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for node in NODES:
            try:
                answer = await caller.call(node, request, timeout_s=1.0)
            except (ConnectionError, TimeoutError, EOFError):
                continue
            if not isinstance(answer.error, PdNotLeader | PdBusy):
                return node, answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"nobody answers {request}")


async def found(caller: GrpcCaller) -> str:
    """Found a cluster of one region on three stores; who leads PD."""
    stores = [StoreMeta(number, node) for number, node in enumerate(NODES, start=1)]
    leader, answer = await ask(caller, pd_stores.Bootstrap(stores[0], REGION))
    assert answer.error is None
    for store in stores[1:]:
        _, answer = await ask(caller, pd_stores.PutStore(store))
        assert answer.error is None
    return leader


async def stamp(caller: GrpcCaller) -> int:
    _, answer = await ask(caller, pd.Tso(3))
    assert answer.count == 3
    return compose_ts(answer.physical, answer.logical)


def test_it_goes_on_after_its_leader(driver: Driver) -> None:
    async def main() -> None:
        caller = GrpcCaller(driver.addresses, NODES)
        leader = await found(caller)
        _, placed = await ask(caller, pd.GetRegion(b"k", cluster_id=7))
        assert placed.region.region == REGION
        _, missing = await ask(caller, pd.GetRegionById(9))
        assert missing.error == PdRegionNotFound()
        _, store = await ask(caller, pd.GetStore(2))
        assert (store.store.node, store.store.address) == ("n2", driver.addresses["n2"])
        _, first = await ask(caller, pd.AllocId(5))
        before = await stamp(caller)
        assert before < await stamp(caller)
        driver.kill(leader)
        assert await stamp(caller) > before
        _, again = await ask(caller, pd.GetRegion(b"k"))
        assert again.region.region == REGION
        _, second = await ask(caller, pd.AllocId(5))
        assert second.id - 5 >= first.id
        _, members = await ask(caller, pd.GetMembers())
        assert members.cluster_id == 7
        await caller.close()

    asyncio.run(main())


def test_tikvs_client_gets_timestamps_from_the_next_leader(
    driver: Driver, foreign: Any
) -> None:
    async def main() -> None:
        caller = GrpcCaller(driver.addresses, NODES)
        leader = await found(caller)
        async with foreign("rust-txn", list(driver.addresses.values())) as call:
            before = await call("timestamp")
            assert int(await call("timestamp")) > int(before)
            driver.kill(leader)
            deadline = time.monotonic() + PATIENCE_S
            while True:
                try:
                    after = await call("timestamp")
                    break
                except ForeignError:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.1)
            assert int(after) > int(before)
        await caller.close()

    asyncio.run(main())
