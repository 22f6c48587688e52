"""What every family of faults shares: its operations' values, its targets, and its proofs.

A family of your own needs no base class: any object with the members of :class:`Family`, made from a
``World``, is one; see :mod:`splitbrain.nemesis.packages`.

A family's operation carries {"id", "fault", "targets", "parameters"}.  A generator does not know
who leads, so it may name a *role* (``leader``, ``one``, ``minority`` ...); the family resolves it
when the fault happens, and the completion carries the names.  Draws that decide a target come from
the run's seed and the operation's id, so that the same fault picks the same nodes when replayed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from splitbrain.contracts.fault import Fault, Proof
from splitbrain.contracts.test import World
from splitbrain.env.random import Stream
from splitbrain.errors import HarnessError
from splitbrain.history.op import Op
from splitbrain.nemesis.ledger import HOLDS, Ledger

__all__ = [
    "LEAST_NODES",
    "ROLES",
    "Act",
    "Draft",
    "Family",
    "MakeFamily",
    "Outcome",
    "completion",
    "down",
    "gather_in_order",
    "mask",
    "resolve_targets",
    "unpack",
]

ROLES = (
    "leader",
    "follower",
    "one",
    "minority",
    "minority-third",
    "majority",
    "all",
    "pd-leader",
)
"""Words for targets that are resolved when the fault happens.

``minority`` leaves a quorum; ``minority-third`` is smaller than a third, as a Byzantine minority is.
``pd-leader`` is the node that leads the placement driver; see ``looks.aim``.
"""

LEAST_NODES: Mapping[str, int] = {"follower": 2, "minority-third": 4}
"""Roles that nobody has in a smaller testbed."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A fault to come: what a family's ``draft`` draws for the schedule.

    Attributes:
        fault: such as ``partition`` or ``clock-jump``; the operations are start-/stop-<fault>.
        targets: node names or role words.
        parameters: what else the fault needs.
        lasting: False for a one-shot fault, which has no stop: those of
            ``splitbrain.checkers.bands.ONE_SHOT`` alone.
        aimed: the targets are part of what the fault is, so ``--option targets`` leaves them.
    """

    fault: str
    targets: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = {}
    lasting: bool = True
    aimed: bool = False


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One nemesis operation, unpacked from its Op.

    Attributes:
        id: joins a start and its stop.
        start: True for start-<fault>.
        targets: names or roles for a start; what the start resolved them to for its stop.
    """

    id: str
    fault: str
    start: bool
    targets: tuple[str, ...]
    parameters: Mapping[str, Any]


Outcome = tuple[tuple[str, ...], Mapping[str, Any], Sequence[Proof]]
"""Resolved targets, resolved parameters, proofs."""


class Family(Protocol):
    """One family of faults acting on one running system.

    ``start`` and ``stop`` return the nodes and parameters that the fault had in the end, by which it
    can be repeated, and what was *observed*, by something other than the act itself.
    """

    faults: frozenset[str]
    """Names of its faults; it understands start-<fault> and, for lasting ones, stop-<fault>."""

    def kinds(self, name: str) -> frozenset[Fault]:
        """The kinds that the package ``name`` injects here: each must be shown effective."""

    def draft(self, name: str, stream: Stream) -> Draft:
        """Draw the next fault of the package ``name``."""

    async def start(self, act: Act) -> Outcome:
        """Apply the fault and observe it."""

    async def stop(self, act: Act) -> Outcome:
        """Heal it and observe that."""

    async def heal(self) -> Outcome:
        """Heal all that this family may have left."""


MakeFamily = Callable[[World], Family]
"""Makes a family, once the system runs; most often its class."""


def resolve_targets(
    world: World, act: Act, primaries: Sequence[str], *, exclude: Iterable[str] = ()
) -> tuple[str, ...]:
    """Node names for an act's targets, drawn by the act's id where a role leaves a choice.

    A role in targets, such as ("minority",), becomes names such as ("n2", "n4").

    Raises:
        HarnessError: a target that is neither a node nor a role, or a role that nobody has here.
    """
    nodes = [name for name in world.spec.nodes if name not in set(exclude)]
    stream = world.random.stream("nemesis-targets", act.id)
    chosen: list[str] = []
    for target in act.targets or ("one",):
        if target in world.spec.nodes:
            chosen.append(target)
        elif target in ROLES:
            chosen += _of_role(target, nodes, len(world.spec.nodes), primaries, stream)
        else:
            known = ", ".join([*world.spec.nodes, *ROLES])
            raise HarnessError(f"fault {act.fault}: unknown target {target!r}; known: {known}")
    if not chosen and act.targets:
        raise HarnessError(
            f"fault {act.fault}: no node is {' or '.join(act.targets)} here; "
            "name a node, another role, or raise --nodes"
        )
    return tuple(dict.fromkeys(chosen))


def _of_role(
    role: str, nodes: list[str], total: int, primaries: Sequence[str], stream: Stream
) -> list[str]:
    """Those of ``nodes`` that a role hits, in a testbed of ``total``; none where nobody has it."""
    if role == "all":
        return nodes
    if role == "pd-leader":  # no member of a placement driver answered
        return []
    if role == "leader":
        return [primaries[0] if primaries else stream.choice(nodes)]
    if role in ("one", "follower"):
        able = [name for name in nodes if role == "one" or name not in primaries[:1]]
        return [stream.choice(able)] if able else []
    if role == "majority":
        count = total // 2 + 1
    elif role == "minority":
        count = stream.randint(1, max(1, (total - 1) // 2))
    else:
        count = stream.randint(1, (total - 1) // 3) if total >= LEAST_NODES[role] else 0
    return sorted(stream.sample(nodes, min(count, len(nodes))), key=nodes.index)


def down(world: World, node: str, ledger: Ledger | None = None) -> str | None:
    """The fault that holds ``node`` dead or paused, so that nothing can be seen of it; else None.

    ``node-crash`` if the node ended by itself.
    """
    status = world.testbed.node(node).state().status
    why = {"killed": "kill", "paused": "pause", "exited": "node-crash", "new": "kill"}.get(
        status
    )
    if why == "kill" and ledger is not None:
        return ledger.disturbance((node,), HOLDS - {"pause"}) or why
    return why


def mask(
    world: World,
    target: str,
    nodes: Iterable[str],
    effective: bool | None,
    seen: str,
    ledger: Ledger | None = None,
) -> Proof:
    """A proof, or ``masked`` if one of ``nodes`` is held dead or paused by another fault."""
    for node in nodes:
        why = down(world, node, ledger)
        if why is not None:
            return Proof(target=target, masked=why, observed=f"{node} was held by {why}")
    return Proof(target=target, effective=effective, observed=seen)


def unpack(op: Op) -> Act:
    """The act that a nemesis operation asks for.

    Raises:
        HarnessError: the operation's value has not the form of DESIGN 6.
    """
    value = op.value if isinstance(op.value, Mapping) else {}
    verb, _, fault = op.f.partition("-")
    if verb not in ("start", "stop") or not fault:
        raise HarnessError(
            f"nemesis operation {op.f!r} is neither start-<fault> nor stop-<fault>"
        )
    return Act(
        id=str(value.get("id", op.f)),
        fault=fault,
        start=verb == "start",
        targets=tuple(value.get("targets") or ()),
        parameters=dict(value.get("parameters") or {}),
    )


def completion(op: Op, act: Act, outcome: Outcome) -> Op:
    """The nemesis operation's completion, with what was resolved and observed."""
    targets, parameters, proofs = outcome
    value = {
        "id": act.id,
        "fault": act.fault,
        "targets": list(targets),
        "parameters": dict(parameters),
        "proof": [msgspec.to_builtins(proof) for proof in proofs],
    }
    return Op(process=op.process, type="info", f=op.f, key=None, value=value)


async def gather_in_order(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    """Await all at once and keep their order; the first exception is raised after all are done."""
    import asyncio

    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(results)
