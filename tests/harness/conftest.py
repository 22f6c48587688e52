"""A toy world in memory: a loop of virtual time, a testbed, a system, a workload, a nemesis."""

import asyncio
import itertools
import selectors
from types import SimpleNamespace

import msgspec
import pytest

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.journal import NullJournal
from splitbrain.contracts.nemesis import FaultPackage
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.test import Test
from splitbrain.contracts.testbed import NodeCrash, NodeState, Site
from splitbrain.contracts.workload import Workload
from splitbrain.env.random import Random
from splitbrain.errors import Definite, NodeFailed
from splitbrain.harness.driver import run_test
from splitbrain.harness.generator import mix
from splitbrain.harness.record import MemoryRecorder
from splitbrain.substrates.sim.loop import SimLoop


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        assert timeout is not None, "deadlock: nothing is scheduled"
        self._loop.now += max(timeout, 0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Never sleeps: jumps to the next timer."""

    def __init__(self):
        self.now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self):
        return self.now


class ToyNode:
    def __init__(self, name, testbed):
        self.name, self.testbed = name, testbed
        self.status = "running"
        self.incarnation = 1
        self.restart_fails = None
        self.log = []

    def state(self):
        return NodeState(status=self.status, incarnation=self.incarnation)

    async def kill(self):
        self.status = "killed"

    async def pause(self):
        self.status = "paused"

    async def resume(self):
        self.log.append("resume")
        self.status = "running"

    async def restart(self):
        self.log.append("restart")
        if self.restart_fails is not None:
            self.status = self.restart_fails
            if self.status == "exited":
                self.testbed.crash(self.name, "exit code 4")
            raise NodeFailed(self.name, "does not start", ["torn"])
        self.status = "running"
        self.incarnation += 1


class ToyNet:
    def __init__(self):
        self.healed = 0

    async def heal(self, id=None):  # noqa: A002
        self.healed += 1


class ToyTestbed:
    def __init__(self, site):
        loop = asyncio.get_running_loop()
        self._loop, self._start = loop, loop.time()
        self.nodes = {name: ToyNode(name, self) for name in site.spec.nodes}
        self.net = ToyNet()
        self.closed = False
        self.untold = []

    def node(self, name):
        return self.nodes[name]

    def time_ns(self):
        return round((self._loop.time() - self._start) * 1e9)

    def crash(self, name, reason="exit code 3"):
        node = self.nodes[name]
        node.status = "exited"
        self.untold.append(
            NodeCrash(
                node=name,
                time_ns=self.time_ns(),
                incarnation=node.incarnation,
                reason=reason,
                log=("last words",),
            )
        )

    def crashes(self):
        told, self.untold = self.untold, []
        return told

    async def close(self):
        self.closed = True


class ToyKv:
    """One session; what it does to an operation is looked up in ``world.answers``."""

    def __init__(self, world, node):
        self.world, self.node = world, node

    async def _step(self, f):
        await asyncio.sleep(0.005)
        node = self.world.testbed.node(self.node)
        if node.status == "paused":
            await asyncio.sleep(3600)
        if node.status != "running":
            raise Definite("refused", f"{self.node} is {node.status}")
        answer = self.world.answers.get(f)
        if answer is not None:
            answer(self.world)

    async def get(self, key):
        await self._step("read")
        return self.world.data.get(key)

    async def put(self, key, value):
        await self._step("write")
        self.world.data[key] = value

    async def cas(self, key, old, new):
        await self._step("cas")
        if self.world.data.get(key) != old:
            raise Definite("cas-mismatch", observed=self.world.data.get(key))
        self.world.data[key] = new

    async def close(self):
        self.world.closed_sessions += 1


class ToyClient:
    def __init__(self, open_kv, session=None):
        self.open_kv, self.session = open_kv, session

    async def open(self, node):
        return ToyClient(self.open_kv, await self.open_kv(node))

    async def setup(self):
        pass

    async def invoke(self, op):
        value = op.value
        if op.f == "read":
            value = await self.session.get(op.key)
        elif op.f == "write":
            await self.session.put(op.key, value)
        else:
            await self.session.cas(op.key, *value)
        return msgspec.structs.replace(op, type="ok", value=value)

    async def teardown(self):
        pass

    async def close(self):
        await self.session.close()


class ToySystem:
    """System and running system in one."""

    name = "toy"
    vocabularies = frozenset({"kv"})

    def __init__(self, world):
        self.fault_model = {Fault.KILL: None, Fault.PAUSE: None}
        self.world = world
        self.stopped = False

    def election_timeout_s(self, spec):
        return 1.0

    async def start(self, spec, testbed, random, pacer):
        self.world.testbed = testbed
        return self

    async def ready(self):
        await asyncio.sleep(self.world.boot_s)

    async def kv(self, node):
        refusal = self.world.refuse_open.get(node)
        if refusal is not None:
            raise refusal
        self.world.opened.append(node)
        return ToyKv(self.world, node)

    async def probes(self):
        return {"some-bug": 7}

    async def stop(self):
        self.stopped = True


class ToyNemesis:
    functions = frozenset(
        {"start-kill", "stop-kill", "start-pause", "stop-pause", "start-jump"}
    )

    def __init__(self, world):
        self.world = world
        self.healed = 0

    async def setup(self):
        pass

    async def invoke(self, op):
        await asyncio.sleep(0.01)
        for name in op.value.get("targets", ()):
            node = self.world.testbed.node(name)
            act = {"start-kill": node.kill, "stop-kill": node.restart,
                   "start-pause": node.pause, "stop-pause": node.resume}.get(op.f)  # fmt: skip
            if act is not None:
                await act()
        proof = [{"target": name, "effective": True} for name in op.value.get("targets", ())]
        return msgspec.structs.replace(op, type="info", value={**op.value, "proof": proof})

    async def teardown(self):
        self.healed += 1
        for node in self.world.testbed.nodes.values():
            if node.status == "paused":
                await node.resume()


def _workload(final):
    values = itertools.count()
    return Workload(
        name="toy",
        vocabulary="kv",
        generator=mix(
            lambda: {"f": "read", "key": "x"},
            lambda: {"f": "write", "key": "x", "value": next(values)},
        ),
        final_generator=final,
        client=ToyClient,
        checkers={},
        functions=("read", "write"),
    )


class Toy:
    """One toy test, with handles on its parts; ``run`` gives its outcome."""

    def __init__(self, *, final=None, faults=None, **spec):
        self.data, self.answers, self.refuse_open, self.opened = {}, {}, {}, []
        self.closed_sessions, self.boot_s = 0, 0.5
        self.testbed = None
        self.recorder = MemoryRecorder()
        self.system = ToySystem(self)
        self.nemesis = ToyNemesis(self)
        self.packages = None
        self.faults, self.heals = faults, None
        defaults = {
            "workload": "toy", "substrate": "sim", "nodes": ("n1", "n2", "n3"), "concurrency": 3,
            "rate_hz": 50.0, "time_limit_s": 4.0,
        }  # fmt: skip
        self.spec = TestSpec(**{**defaults, **spec})
        self.workload = _workload(final)
        self.progress = []

    def _packages(self, world):
        self.world = world
        return (
            FaultPackage(
                name="toy", faults=frozenset({Fault.KILL}), nemesis=self.nemesis,
                generator=self.faults, final_generator=self.heals,
            ),
        )  # fmt: skip

    async def open(self, site):
        return ToyTestbed(site)

    def test(self):
        return Test(
            spec=self.spec, workload=self.workload, system=self.system, substrate=self,
            packages=self._packages,
        )  # fmt: skip

    def site(self):
        return Site(
            spec=self.spec, directory=None, label="toy", random=Random(self.spec.seed),
            journal=NullJournal(), events=self.recorder.event,
        )  # fmt: skip

    def run(self, *, beside=None, stop_at=None, cancel_at=None, loop=None):
        async def main():
            running = asyncio.get_running_loop()
            stop = asyncio.Event()
            task = running.create_task(
                run_test(
                    self.test(),
                    self.site(),
                    self.recorder,
                    stop=stop,
                    progress=self.progress.append,
                )
            )
            if stop_at is not None:
                running.call_later(stop_at, stop.set)
            if cancel_at is not None:
                running.call_later(cancel_at, task.cancel)
            for when, act in (beside or {}).items():
                running.call_later(when, act, self)
            return await task

        if loop is SimLoop:
            return SimLoop().run(main)
        with asyncio.Runner(loop_factory=loop or VirtualLoop) as runner:
            return runner.run(main())

    # --- looking at the history ---

    def ops(self, **wanted):
        return [
            op
            for op in self.recorder.ops
            if all(getattr(op, name) == value for name, value in wanted.items())
        ]

    def phases(self):
        return {op.value["phase"]: op for op in self.ops(f="phase")}


@pytest.fixture
def toy():
    return Toy


@pytest.fixture
def toys():
    """Names that tests need from here."""
    return SimpleNamespace(ToyClient=ToyClient, SimLoop=SimLoop)
