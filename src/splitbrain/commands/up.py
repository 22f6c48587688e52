"""``splitbrain up``: a minitikv of local processes for somebody's own client, until it is told to end.

Stores n1, n2, ... are one process each; the first of them have a member of the placement driver beside
the store.  Nothing is faulted and nothing is recorded, so nodes dial each other directly.  What is
started is journaled as a run's acts are: if the tool is killed, ``splitbrain heal`` finds it.

Without a directory of the user's, everything lies in one that is removed at the end.  In one of the
user's the data stay, and the next ``up`` there goes on with them::

    DIR/up.json          mode, stores and members, which must be the same the next time
    DIR/lock             locked while somebody's up works here
    DIR/data  DIR/logs   see ``substrates.real.places``
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.commands.signals import Signals
from splitbrain.commands.standing import Look, is_known, look_at, statuses
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Site, Testbed
from splitbrain.env.random import Random
from splitbrain.errors import CannotError, HostError, NodeFailed, RequestError, Unsupported
from splitbrain.substrates.heal import heal
from splitbrain.substrates.journal import FileJournal
from splitbrain.substrates.local.substrate import LocalSubstrate
from splitbrain.substrates.tools.private import make_private, private_path, remove_private
from splitbrain.systems.minitikv.running import NodePlan, RunningMinitikv, start_stores
from splitbrain.systems.minitikv.system import SCALE

__all__ = ["Served", "Shape", "Viewer", "bring_up"]

T = TypeVar("T")

_LOOK_S = 0.25
_READY_S = 60.0


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a cluster's data its own: see ``up.json``."""

    mode: str = "txn"
    stores: int = 3
    pds: int = 3

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the stores."""
        return tuple(f"n{number + 1}" for number in range(self.stores))

    @property
    def members(self) -> tuple[str, ...]:
        """The stores whose processes have a member of the placement driver."""
        return self.nodes[: self.pds]

    def check(self) -> None:
        """Raise RequestError unless each member has a store's process to live in."""
        if self.pds > self.stores:
            raise RequestError(
                f"--pds {self.pds} needs at least as many --stores, for a member lives in a store's "
                f"process; got {self.stores}"
            )

    def plan(self, node: str) -> NodePlan:
        """What one node runs."""
        replicas = min(5, self.stores - 1 + self.stores % 2)
        store = StoreConfig(
            node=node,
            nodes=self.nodes,
            scale=SCALE,
            mode=self.mode,
            pd=self.members,
            first_stores=self.nodes[:replicas],
        )
        if node not in self.members:
            return NodePlan(store)
        return NodePlan(
            store, PdConfig(node=node, nodes=self.members, scale=SCALE, replicas=replicas)
        )


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster that serves.

    Attributes:
        pd: addresses of the placement driver's members, as a TiKV client wants them.
        stores: address by store.
        directory: where logs and data lie.
    """

    mode: str
    pd: tuple[str, ...]
    stores: dict[str, str]
    directory: str


class Viewer(Protocol):
    """Whoever tells the user."""

    def serves(self, served: Served) -> None:
        """It serves; once."""

    def seen(self, look: Look) -> None:
        """One look more."""

    def ended(self, node: str, reason: str) -> None:
        """A node has ended by itself."""


def bring_up(
    shape: Shape, viewer: Viewer, *, on: str, directory: Path | None, port_base: int, seed: int
) -> None:
    """Start the cluster, tell of it, and end it at SIGINT or SIGTERM; nothing of it is left then.

    Raises:
        RequestError: the shape makes no sense, or is not that of the directory.
        Unsupported: ``on`` is not ``local``.
        HostError: a port is taken, somebody's up works in the directory, no permission.
        NodeFailed: a node did not come up, or all have ended.
    """
    shape.check()
    if on != "local":
        raise Unsupported(
            f"up starts processes of this machine, not nodes on {on!r}; leave out --on"
        )
    options: dict[str, str | int | float | bool] = {"proxies": False, "port-base": port_base}
    options["keep-data"] = directory is not None
    spec = TestSpec(workload="up", nodes=shape.nodes, seed=seed, options=options)
    with Signals(own_process=True) as signals, contextlib.suppress(KeyboardInterrupt):
        label = f"splitbrain-up-{secrets.token_hex(8)}"
        with _place(directory, shape, label, signals) as (place, journal):
            site = Site(
                spec=spec,
                directory=place,
                label=label,
                random=Random(seed),
                journal=journal,
                events=lambda _: None,
            )

            async def main() -> None:
                stop = asyncio.Event()
                task = asyncio.ensure_future(_serve(shape, site, viewer, stop))
                signals.attach(stop, task)
                try:
                    await task
                finally:
                    signals.detach()

            with contextlib.suppress(asyncio.CancelledError):  # a second signal: heal below
                LocalSubstrate().run(main)


@contextlib.contextmanager
def _place(
    directory: Path | None, shape: Shape, label: str, signals: Signals
) -> Iterator[tuple[str, FileJournal]]:
    """The directory and the journal in it; at the end, what should not stay there is gone."""
    with _own(label) if directory is None else _yours(directory, shape) as place:
        path = Path(place) / f"journal-{label}.jsonl"
        journal = FileJournal(str(path), label=label)
        made = None
        if directory is None:  # from now on heal can remove it
            made = journal.intent(
                "make-directory", target=place, label=label, undo="remove-directory"
            )
            journal.done(made)
        try:
            yield place, journal
        finally:
            signals.ignore()
            if made is not None and journal.unfinished == 1 and remove_private(place, label):
                journal.undone(made)
            if journal.close() or not heal(only=label, own=True).left:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _own(label: str) -> Iterator[str]:
    heal()
    place = private_path("up", label)
    make_private(place, label)
    yield place


@contextlib.contextmanager
def _yours(directory: Path, shape: Shape) -> Iterator[str]:
    """The user's directory, locked; orphans of an earlier up there have been ended."""
    place = directory.absolute()
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise HostError(
            f"{directory}: {error.strerror}; choose another --dir, or leave it out"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HostError(
                f"{directory} is in use by another splitbrain up; end that one, or choose "
                "another --dir"
            ) from error
        heal()
        _same_shape(place / "up.json", shape)
        yield str(place)
    finally:
        os.close(handle)


def _same_shape(path: Path, shape: Shape) -> None:
    """Data of one shape mean nothing to another."""
    if not path.exists():
        if (path.parent / "data").exists():
            raise RequestError(
                f"{path.parent} holds data of something else; choose another --dir"
            )
        path.write_bytes(msgspec.json.encode(shape) + b"\n")
        return
    try:
        was = msgspec.json.decode(path.read_bytes(), type=Shape)
    except msgspec.MsgspecError as error:
        raise RequestError(
            f"{path}: {error}; remove that directory, or choose another"
        ) from error
    if was != shape:
        raise RequestError(
            f"{path.parent} holds a cluster of --mode {was.mode} --stores {was.stores} "
            f"--pds {was.pds}; start it so, or choose another --dir"
        )


class _Clock:
    """Time as our clients see it."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _serve(shape: Shape, site: Site, viewer: Viewer, stop: asyncio.Event) -> None:
    testbed = await LocalSubstrate().open(site)
    running: list[RunningMinitikv] = []
    try:
        if not await _unless(stop, _start(shape, site, testbed, running)):
            return
        nodes = testbed.nodes
        addresses = {name: node.address for name, node in nodes.items()}
        viewer.serves(
            Served(
                mode=shape.mode,
                pd=tuple(addresses[name] for name in shape.members),
                stores=addresses,
                directory=testbed.places.run,
            )
        )
        await _watch(testbed, viewer, stop)
    finally:
        for each in running:
            await each.stop()
        await testbed.close()


async def _start(
    shape: Shape, site: Site, testbed: Testbed, running: list[RunningMinitikv]
) -> bool:
    """Until a client is served: a leader has been told to the placement driver, and it serves."""
    plans = {node: shape.plan(node) for node in shape.nodes}
    timeout_s = 2 * plans[shape.nodes[0]].store.election_timeout_s
    random = site.random.child("system")
    cluster = await start_stores(site.spec, testbed, random, _Clock(), plans, timeout_s)
    running.append(cluster)
    await cluster.ready()
    deadline_s = time.monotonic() + _READY_S
    while not is_known(await statuses(testbed)):
        if time.monotonic() > deadline_s:
            raise CannotError(f"the placement driver knows of no leader after {_READY_S:g} s")
        await asyncio.sleep(0.05)
    return True


async def _unless(stop: asyncio.Event, step: Awaitable[T]) -> T | None:
    """The step's result, or None if ``stop`` is set first; the step is given up then."""
    work = asyncio.ensure_future(step)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else None
    finally:
        for task in (work, stopped):
            task.cancel()
        await asyncio.gather(work, stopped, return_exceptions=True)


async def _watch(testbed: Testbed, viewer: Viewer, stop: asyncio.Event) -> None:
    """Tell how it stands until ``stop`` is set."""
    addresses = {name: node.address for name, node in testbed.nodes.items()}
    while not stop.is_set():
        viewer.seen(look_at(addresses, await statuses(testbed)))
        for crash in testbed.crashes():
            viewer.ended(crash.node, crash.reason)
            if all(node.state().status == "exited" for node in testbed.nodes.values()):
                raise NodeFailed(
                    crash.node, f"ended, and all others too: {crash.reason}", crash.log
                )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOOK_S)
