"""A fault of one's own in ten lines: ``splitbrain.fault``, made of three small functions.

    import splitbrain

    async def hurt(world, node):
        await world.testbed.clock.jump(node, -86_400_000)

    async def mend(world, node):
        await world.testbed.clock.reset(node)

    async def seen(world, node):
        look = await world.testbed.node(node).observe()
        return look.wall_ns is not None and look.base_wall_ns - look.wall_ns > 3_600_000_000_000

    NEMESES = {"yesterday": splitbrain.fault("yesterday", hurt, mend, seen)}

What the three leave out is done here, once and alike for all such faults: targets are drawn and
resolved, ``seen`` is asked *before* and after, so that what was there already proves nothing, nodes
that another fault holds are left alone, and whatever is still open is mended at the end.

A harm stays *open* from its hurt until ``seen`` says that it is gone.  Who *holds* a node is another
matter: two applications may overlap on it, and then it is mended when the last of them stops.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from splitbrain.checkers.bands import ONE_SHOT
from splitbrain.contracts.fault import Fault, Proof
from splitbrain.contracts.test import World
from splitbrain.env.random import Stream
from splitbrain.errors import HarnessError, whose
from splitbrain.harness.validate import short
from splitbrain.nemesis.base import (
    Act,
    Draft,
    Outcome,
    down,
    gather_in_order,
    mask,
    resolve_targets,
)
from splitbrain.nemesis.ledger import Ledger

__all__ = ["OwnFamily", "OwnFault", "fault"]

Do = Callable[[World, str], Awaitable[Any]]
Look = Callable[[World, str], Awaitable[bool]]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_BUNDLED = frozenset({*Fault, *ONE_SHOT})
_ROLES = ("leader", "leader", "one", "minority", "minority", "majority", "all")


def fault(name: str, hurt: Do, mend: Do, seen: Look) -> OwnFault:
    """A fault of nodes that lasts until it is mended; goes into ``NEMESES`` of a ``--load`` file.

    Args:
        name: the operations are start-<name> and stop-<name>.
        hurt: async function of (world, node) that does the harm; the node name is such as "n1".
        mend: async function of (world, node) that undoes it, and does nothing where there is none.
        seen: async function of (world, node): whether the harm can be observed on that node, by
            another way than that it was done.  The fault is *effective* where this was False
            before, and is True after.

    Raises:
        ValueError: a name that is none, or that a bundled fault has.
        TypeError: something that cannot be called with (world, node).
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a fault (such as my-fault)")
    if name in _BUNDLED:
        raise ValueError(f"{name!r} is the name of a bundled fault; choose another")
    for part, function in (("hurt", hurt), ("mend", mend), ("seen", seen)):
        if not _takes_world_and_node(function):
            raise TypeError(
                f"fault {name!r}: {part} must be an async function of (world, node), "
                f"was {short(function)}"
            )
    return OwnFault(name, hurt, mend, seen)


def _takes_world_and_node(function: Any) -> bool:
    if not callable(function):
        return False
    try:
        signature = inspect.signature(function)
    except ValueError:  # one written in C need not tell
        return True
    try:
        signature.bind(None, "n1")
    except TypeError:
        return False
    return True


class OwnFault(msgspec.Struct, frozen=True):
    """What ``fault`` returns: called with a ``World`` it makes the fault's family."""

    name: str
    hurt: Do
    mend: Do
    seen: Look

    @property
    def faults(self) -> frozenset[str]:
        """The one name."""
        return frozenset({self.name})

    def __call__(self, world: World, ledger: Ledger | None = None) -> OwnFamily:
        """The family, on a system that runs; ``ledger`` is the book of all faults of the run."""
        return OwnFamily(world, self, ledger)


class OwnFamily:
    """start-<name> hurts the targets and looks, stop-<name> mends them and looks again."""

    faults: frozenset[str]

    def __init__(self, world: World, parts: OwnFault, ledger: Ledger | None = None) -> None:
        self.faults = parts.faults
        self.parts = parts
        self._world = world
        self._ledger = ledger or Ledger()
        self._held: dict[str, tuple[str, ...]] = {}
        """By the id of each application that lasts: its nodes."""
        self._open: dict[str, None] = {}
        """Nodes that were hurt and not seen whole since, in the order of their hurt."""

    def kinds(self, name: str) -> frozenset[Fault]:
        """None of the bundled kinds: the package itself has to be shown effective."""
        return frozenset()

    def draft(self, name: str, stream: Stream) -> Draft:
        """A role, the leader more often than others."""
        return Draft(fault=self.parts.name, targets=(stream.choice(_ROLES),))

    async def start(self, act: Act) -> Outcome:
        """Look at the targets, hurt those that nothing holds, and look again."""
        primaries = await self._world.running.primaries()
        names = resolve_targets(self._world, act, primaries)
        looks = await gather_in_order([self._first_look(name, act.id) for name in names])
        known: dict[str, Proof] = {
            name: proof
            for name, (_, proof) in zip(names, looks, strict=True)
            if proof is not None
        }
        fresh = [name for name, (free, _) in zip(names, looks, strict=True) if free]
        self._open.update(dict.fromkeys(fresh))
        mine = (*self._held.get(act.id, ()), *(name for name in names if name in self._open))
        self._held[act.id] = tuple(dict.fromkeys(mine))
        await gather_in_order([self._call("hurt", name) for name in fresh])
        unknown = [name for name in names if name not in known]
        proofs = await gather_in_order([self._second_look(name) for name in unknown])
        known.update(zip(unknown, proofs, strict=True))
        parameters = dict(act.parameters)
        if primaries:
            parameters["leader"] = primaries[0]
        return names, parameters, [known[name] for name in names]

    async def _first_look(self, node: str, id_: str) -> tuple[bool, Proof | None]:
        """Whether to hurt the node; and its proof, if that is settled before the hurt."""
        rival = self._rival(node, id_)
        if rival is not None:
            text = f"{rival} holds it already"
            return False, Proof(target=node, masked=self.parts.name, observed=text)
        proof = self._masked(node, None, "")
        if proof.masked:
            return False, proof
        seen, told = await self._look(node)
        if seen is False:
            return True, None
        text = "seen already before it was done" if seen else f"before it was done {told}"
        return True, self._masked(node, None, text)

    async def _second_look(self, node: str) -> Proof:
        seen, told = await self._look(node)
        told = told or ("seen, and not before" if seen else "not seen after it was done")
        # The node was well before, and faults come one at a time: if it is dead or paused now, that
        # was our own hurt, which masks nothing; but not if it ended by itself.
        if down(self._world, node, self._ledger) == "node-crash":
            return self._masked(node, seen, told)
        return Proof(target=node, effective=seen, observed=told)

    async def stop(self, act: Act) -> Outcome:
        """Mend the nodes that no other application holds, and look that the harm is gone."""
        held = self._held.pop(act.id, ())
        proofs = await gather_in_order([self._stopped(name, act.id) for name in held])
        return act.targets or held, act.parameters, proofs

    async def _stopped(self, node: str, id_: str) -> Proof:
        rival = self._rival(node, id_)
        if rival is not None:
            text = f"{rival} still holds it"
            return Proof(target=node, masked=self.parts.name, observed=text)
        try:
            seen, told = await self._mended(node)
        except HarnessError:
            raise
        except Exception as exc:
            proof = self._masked(node, None, _words("mend failed", exc))
            if proof.masked is None:
                raise
            self._ledger.owe(node, partial(self._mend_late, node))
            return proof
        told = told or ("still seen after its mend" if seen else "seen no more")
        return self._masked(node, None if seen is None else not seen, told)

    async def _mend_late(self, node: str) -> None:
        """What a dead or paused node could not take: tried once it goes on, and else by ``heal``."""
        if self._rival(node, "") is None and node in self._open:
            with suppress(Exception):
                await self._mended(node)

    async def heal(self) -> Outcome:
        """Mend all that is open; every node, even if one fails; the first failure is raised then."""
        self._held.clear()
        await gather_in_order([self._healed(name) for name in tuple(self._open)])
        return (), {}, ()

    async def _healed(self, node: str) -> None:
        seen, _ = await self._mended(node)
        if seen:
            raise RuntimeError(f"{self.parts.name} is still seen on {node} after its mend")

    async def _mended(self, node: str) -> tuple[bool | None, str]:
        """Mend; the node stays open if that fails, or if the harm is still seen."""
        await self._call("mend", node)
        seen, told = await self._look(node)
        if not seen:
            self._open.pop(node, None)
        return seen, told

    def _rival(self, node: str, id_: str) -> str | None:
        """Another application of this fault that holds the node."""
        return next(
            (by for by, nodes in self._held.items() if node in nodes and by != id_), None
        )

    def _masked(self, node: str, effective: bool | None, told: str) -> Proof:
        return mask(self._world, node, (node,), effective, told, self._ledger)

    async def _look(self, node: str) -> tuple[bool | None, str]:
        """Whether the harm is seen; None, and why, if nobody could look."""
        try:
            answer = await self._call("seen", node)
        except HarnessError:
            raise
        except Exception as exc:  # noqa: BLE001 - a dead node does not answer; that is no verdict
            return None, _words("could not look", exc)
        if not isinstance(answer, bool):
            raise self._broken("seen", answer, node, "True or False is needed")
        return answer, ""

    async def _call(self, part: str, node: str) -> Any:
        function: Do = getattr(self.parts, part)
        answer: Any = function(self._world, node)
        if not hasattr(answer, "__await__"):
            needed = "a coroutine is needed; write it as async def"
            raise self._broken(part, answer, node, needed)
        return await answer

    def _broken(self, part: str, answer: Any, node: str, needed: str) -> HarnessError:
        function = getattr(self.parts, part)
        return HarnessError(
            f"fault {self.parts.name!r} broke its contract: {part}={whose(function)} gave "
            f"{short(answer)} for {node} where {needed}"
        )


def _words(what: str, exc: Exception) -> str:
    return " ".join(f"{what}: {type(exc).__name__}: {exc}".split()).removesuffix(":")
