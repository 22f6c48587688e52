"""A system of your own in a few lines: one program on each node, and a class that speaks to it.

::

    class Store(ProgramSystem):
        name = "my-store"
        client = MyClient                   # MyClient("127.0.0.1:4001", 2.0).get("key")

        def program(self, spec, node, links):
            peers = ",".join(f"{name}={address}" for name, address in links.items())
            argv = ("my-store", "--listen", node.address, "--data", node.data_dir, "--peers", peers)
            return Program(name="my-store", argv=argv)

    SYSTEMS = {"my-store": Store}

The program needs to know nothing of splitbrain.  Two things matter:

- It keeps its data below ``node.data_dir``, which outlives a kill.
- It dials other nodes by the addresses in ``links``.  They differ from node to node, for each leads
  over a link that can be cut.  A program that dials ``node.address`` of another is not partitioned;
  the fault's proof says so, and the verdict is unknown.

A client is made for each session, and may be *blocking*: then each session has a thread of its own.
Its methods are those of the vocabulary, for ``kv`` those of ``contracts.workload.Kv``.  They raise
``Definite`` where the operation certainly was not done, and ``Undetermined``, or anything else,
where nobody knows.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from splitbrain.contracts.fault import Fault, Limit
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.contracts.system import Bug, RunningSystem
from splitbrain.contracts.testbed import Inhabited, Node, Program, Testbed
from splitbrain.env import Pacer
from splitbrain.env.random import Random
from splitbrain.errors import HarnessError, NodeFailed, RequestError, Unsupported

__all__ = ["ProgramSystem"]

_POLL_S: Final = 0.05
_NEED_CONTROL: Final = ("clock", "power", "disk")
_MODEL: Final = (
    Fault.PARTITION,
    Fault.ONE_WAY,
    Fault.KILL,
    Fault.PAUSE,
    Fault.DELAY,
    Fault.RATE,
    Fault.LOSS,
    Fault.DUPLICATION,
    Fault.REORDERING,
    Fault.CLIENT_LINKS,
)
"""What a program that trusts neither the network nor its neighbours withstands, over TCP."""


class ProgramSystem:
    """A system whose nodes each run one program; derive yours from it.

    Attributes:
        name: as in ``--system``.
        client: makes a session: (address, seconds for one operation) -> session.
        vocabularies: what its sessions can do: ``kv``.
        fault_model: the faults inside which it promises to be correct, and ``--nemesis all`` stays.
        election_s: T, by which faults are timed: about as long as the system needs to notice
            that a node is gone, and to go on without it.
    """

    name: str = ""
    client: Callable[[str, float], Any]
    vocabularies: frozenset[str] = frozenset({"kv"})
    fault_model: Mapping[Fault, Limit] = dict.fromkeys(_MODEL, Limit())
    election_s: float = 1.0
    bugs: Mapping[str, Bug] = {}
    admin_actions: frozenset[str] = frozenset()

    def program(self, spec: TestSpec, node: Node, links: Mapping[str, str]) -> Program:
        """What ``node`` runs: argv, environment, files.

        Args:
            spec: the test, with its options.
            node: where: ``address`` to listen at, ``data_dir``, ``config_dir`` with the files.
            links: for each other node the address by which this one must dial it.
        """
        raise NotImplementedError  # validate has refused such a class

    async def serves(self, address: str) -> bool:
        """Whether the node behind ``address`` is ready: by default, whether it accepts a connection."""
        host, _, port = address.rpartition(":")
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return False
        writer.close()
        return True

    async def primaries(self, spec: TestSpec, testbed: Testbed) -> Sequence[str]:
        """The nodes that lead now, the latest first, for faults that aim at the leader."""
        return ()

    def election_timeout_s(self, spec: TestSpec) -> float:
        """T."""
        return self.election_s

    def op_timeout_s(self, spec: TestSpec) -> float:
        """How long a client waits for one operation: ``op-timeout``, by default 2 T."""
        return float(spec.options.get("op-timeout", 2 * self.election_s))

    def times(self, spec: TestSpec) -> Mapping[str, float]:
        """For the report."""
        return {"operation_timeout": self.op_timeout_s(spec)}

    def validate(self, spec: TestSpec) -> None:
        """Refuse what a program that knows nothing of splitbrain cannot take part in.

        Raises:
            RequestError: the class lacks a part.
            Unsupported: a fault is asked for that needs the program's help.
        """
        if type(self).program is ProgramSystem.program or not hasattr(type(self), "client"):
            raise RequestError(
                f"system {self.name!r} needs a method program(self, spec, node, links) and a class "
                "attribute client; see docs/own-service.md"
            )
        asked = [*spec.nemesis, *(fault.f.partition("-")[2] for fault in spec.schedule)]
        for name in asked:
            if name.partition("-")[0] in _NEED_CONTROL:
                raise Unsupported(
                    f"fault {name!r} on {self.name}: it is set through a control socket, which its "
                    "program does not open; leave it out"
                )

    def schedule(self, name: str) -> Sequence[ScheduledFault]:
        """It ships none."""
        raise KeyError(name)

    async def start(
        self, spec: TestSpec, testbed: Testbed, random: Random, pacer: Pacer
    ) -> RunningSystem:
        """Start the program on every node."""
        await asyncio.gather(
            *(
                node.start(self.program(spec, node, testbed.links(name)))
                for name, node in testbed.nodes.items()
            )
        )
        return _Running(self, spec, testbed)


class _Running:
    """See ``contracts.system.RunningSystem``."""

    def __init__(self, system: ProgramSystem, spec: TestSpec, testbed: Testbed) -> None:
        self._system = system
        self._spec = spec
        self._testbed = testbed

    async def ready(self) -> None:
        """Wait until every node serves."""
        for name in self._testbed.nodes:
            while not await self._system.serves(self._testbed.client_address(name)):
                for crash in self._testbed.crashes():
                    raise NodeFailed(crash.node, crash.reason, crash.log)
                await asyncio.sleep(_POLL_S)

    async def primaries(self) -> Sequence[str]:
        """As the system says."""
        return await self._system.primaries(self._spec, self._testbed)

    async def kv(self, node: str) -> Any:
        """A session with ``node``."""
        address = self._testbed.client_address(node)
        make = functools.partial(
            type(self._system).client, address, self._system.op_timeout_s(self._spec)
        )
        session = await _session(make)
        if isinstance(self._testbed, Inhabited):
            return _Prefixed(session, self._testbed.key_prefix)
        return session

    async def admin(self, action: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Nothing: there are no such actions."""
        raise HarnessError(f"system {self._system.name!r} has no admin action {action!r}")

    async def probes(self) -> Mapping[str, int]:
        """There are no seeded bugs."""
        return {}

    async def stop(self) -> None:
        """End the programs."""
        await asyncio.gather(*(node.stop() for node in self._testbed.nodes.values()))


async def _session(make: Callable[[], Any]) -> Any:
    """A session, in a thread of its own if its methods are plain functions."""
    thread = ThreadPoolExecutor(1)
    try:
        session = await asyncio.get_running_loop().run_in_executor(thread, make)
    except BaseException:
        thread.shutdown(wait=False)
        raise
    if inspect.iscoroutinefunction(getattr(session, "get", None)):
        thread.shutdown(wait=False)
        return session
    return _InThread(session, thread)


class _Prefixed:
    """A session all of whose keys are this run's own."""

    def __init__(self, session: Any, prefix: str) -> None:
        self._session = session
        self._prefix = prefix

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method: Callable[..., Awaitable[Any]] = getattr(self._session, name)

        def call(key: str, *given: Any, **named: Any) -> Awaitable[Any]:
            return method(f"{self._prefix}{key}", *given, **named)

        return call

    async def close(self) -> None:
        """Close the session, if it can be."""
        close = getattr(self._session, "close", None)
        if close is not None:
            await close()


class _InThread:
    """A blocking session: its calls are made one after the other in its thread.

    A call that is given up goes on until its own timeout ends it.
    """

    def __init__(self, session: Any, thread: ThreadPoolExecutor) -> None:
        self._session = session
        self._thread = thread

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._session, name)

        async def call(*given: Any, **named: Any) -> Any:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._thread, functools.partial(method, *given, **named)
            )

        return call

    async def close(self) -> None:
        """Close the session if it can be, and end the thread."""
        try:
            if hasattr(self._session, "close"):
                await self.__getattr__("close")()
        finally:
            self._thread.shutdown(wait=False)
