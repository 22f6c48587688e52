"""Systems of one program a node: sessions in threads, readiness, and what is refused before a start."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import splitbrain
from splitbrain import Definite, Program, ProgramSystem, TestSpec, catalog, kv_ops
from splitbrain.contracts.journal import NullJournal
from splitbrain.contracts.spec import ScheduledFault
from splitbrain.contracts.testbed import Site
from splitbrain.env.random import Random
from splitbrain.errors import NodeFailed, RequestError, Unsupported
from splitbrain.harness.generator import invocations, limit
from splitbrain.substrates.local import LocalSubstrate


class Blocking:
    """A session whose calls block until all sessions are in one."""

    together = threading.Barrier(3, timeout=10)

    def __init__(self, address: str, timeout_s: float) -> None:
        self.made = threading.get_ident()
        self.address, self.timeout_s = address, timeout_s

    def get(self, key: str) -> Any:
        self.together.wait()
        return self.made, threading.get_ident(), self.address, self.timeout_s

    def put(self, key: str, value: Any) -> None:
        raise Definite("refused", key)


class Asynchronous:
    def __init__(self, address: str, timeout_s: float) -> None:
        self.thread = threading.get_ident()

    async def get(self, key: str) -> Any:
        return threading.get_ident()


class Store(ProgramSystem):
    name, client, election_s = "store", Blocking, 0.7
    command = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port={}, bind='{}')"

    def program(self, spec: Any, node: Any, links: Any) -> Program:
        host, _, port = node.address.partition(":")
        return Program(name="x", argv=(sys.executable, "-c", self.command.format(port, host)))


def run(system: ProgramSystem, directory: Path, body: Any) -> None:
    """Start the system on three nodes, and hand what runs to ``body``."""
    spec = TestSpec(workload="none", nodes=("n1", "n2", "n3"))
    site = Site(
        spec=spec,
        directory=str(directory),
        label=f"test-{directory.parent.name}",
        random=Random(1),
        journal=NullJournal(),
        events=lambda _: None,
    )
    substrate = LocalSubstrate()

    async def main() -> None:
        testbed = await substrate.open(site)
        try:
            running = await system.start(spec, testbed, Random(1), None)  # type: ignore[arg-type]
            await body(running, testbed)
            await running.stop()
        finally:
            await testbed.close()

    substrate.run(main)


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.processes
def test_blocking_sessions_have_a_thread_each(tmp_path: Path) -> None:
    async def body(running: Any, testbed: Any) -> None:
        await running.ready()
        sessions = [await running.kv(node) for node in testbed.nodes]
        got = await asyncio.gather(*(session.get("k") for session in sessions))
        assert len({made for made, _, _, _ in got} | {threading.get_ident()}) == 4
        for (made, used, address, timeout_s), node in zip(got, testbed.nodes, strict=True):
            assert (made, address, timeout_s) == (used, testbed.client_address(node), 1.4)
        with pytest.raises(Definite, match="refused: k"):
            await sessions[0].put("k", 1)
        for session in sessions:
            await session.close()

    before = threading.active_count()
    run(Store(), tmp_path / "run", body)
    assert threading.active_count() <= before


@pytest.mark.processes
def test_asynchronous_sessions_stay_on_the_loop(tmp_path: Path) -> None:
    class Other(Store):
        client = Asynchronous

    async def body(running: Any, testbed: Any) -> None:
        assert await (await running.kv("n1")).get("k") == threading.get_ident()

    run(Other(), tmp_path / "run", body)


@pytest.mark.processes
def test_a_program_that_ends_at_once_is_told(tmp_path: Path) -> None:
    class Broken(Store):
        command = "import time; time.sleep(0.5); print({0!r}, {1!r}); raise SystemExit(7)"

    async def body(running: Any, testbed: Any) -> None:
        with pytest.raises(NodeFailed, match="exit code 7"):
            await running.ready()

    run(Broken(), tmp_path / "run", body)


@pytest.mark.parametrize("asked", ["clock", "power"])
def test_faults_that_need_a_control_socket_are_refused_before_the_start(asked: str) -> None:
    names = catalog.builtin()
    tables = {**names.systems, "store": Store}
    names = splitbrain.catalog.msgspec.structs.replace(names, systems=tables)
    spec = TestSpec(workload="register", system="store", nemesis=("partition", asked))
    with pytest.raises(Unsupported, match=f"'{asked}' on store.*leave it out"):
        catalog.resolve(spec, names)
    later = ScheduledFault(time_ns=1, f="start-clock-jump", targets=("n1",))
    spec = TestSpec(workload="register", system="store", schedule=(later,))
    with pytest.raises(Unsupported, match="'clock-jump' on store"):
        catalog.resolve(spec, names)
    everything = catalog.inside_model(TestSpec(workload="register", system="store"), names)
    assert everything == ("partition", "kill", "pause", "network")


@pytest.mark.parametrize("missing", ["program", "client"])
def test_a_system_that_lacks_a_part_is_refused(missing: str) -> None:
    parts = {"name": "half", "program": Store.program, "client": Blocking}
    half = type("Half", (ProgramSystem,), {k: v for k, v in parts.items() if k != missing})
    with pytest.raises(RequestError, match="'half' needs a method program"):
        half().validate(TestSpec(workload="register"))


def test_kv_ops_come_by_their_shares_and_cas_asks_for_what_was_seen() -> None:
    ops = invocations(limit(3000, kv_ops(read=2, write=3, cas=1, keys=4)), concurrency=1)
    count = {f: sum(op.f == f for op in ops) for f in ("read", "write", "cas", "delete")}
    assert 900 < count["read"] < 1100
    assert 1350 < count["write"] < 1650
    assert 400 < count["cas"] < 600
    assert count["delete"] == 0
    new = [op.value for op in ops if op.f == "write"]
    new += [op.value[1] for op in ops if op.f == "cas"]
    assert len(new) == len(set(new))
    written: dict[Any, set[Any]] = {}
    hits = 0
    for op in ops:
        there = written.setdefault(op.key, set())
        if op.f == "cas":
            assert op.value[0] is None or op.value[0] in there
            hits += op.value[0] is not None
        if op.f in ("write", "cas"):
            there.add(op.value if op.f == "write" else op.value[1])
    assert hits > 200


@pytest.mark.parametrize("shares", [{}, {"read": 0}, {"read": 1, "append": 2}])
def test_kv_ops_refuse_what_clients_cannot_do(shares: dict[str, int]) -> None:
    with pytest.raises(RequestError, match="give shares of read, write, cas, delete"):
        kv_ops(**shares)
