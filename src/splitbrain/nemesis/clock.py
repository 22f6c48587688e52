"""Faults of clocks: jumps and strobes of the wall clock, drift of both clocks.

A jump and a strobe are seen by how far a node's wall clock leaves its own monotonic clock, which is
read in the same breath: so neither a slow answer nor a drift looks like one.  A drift is seen by the
node's monotonic clock against ours, over so long a time that what a slow answer may hide is small.
"""

from __future__ import annotations

import asyncio
from functools import partial

from splitbrain.contracts.fault import Fault, Limit, Proof
from splitbrain.contracts.test import World
from splitbrain.contracts.testbed import Observation
from splitbrain.env.random import Stream
from splitbrain.nemesis.base import (
    Act,
    Draft,
    Outcome,
    gather_in_order,
    mask,
    resolve_targets,
)
from splitbrain.nemesis.ledger import CLOCKS, Ledger

__all__ = ["ClockFamily"]

_KINDS = {
    "clock-jump": Fault.CLOCK_JUMP,
    "clock-strobe": Fault.CLOCK_STROBE,
    "clock-drift": Fault.CLOCK_DRIFT,
}
_ROLES = ("one", "minority", "majority", "all", "leader")
_DRIFT_MAX = 0.1
_DRIFT_SAMPLE_S = 0.5
_DRIFT_LOOKS = 8
_STROBE_LOOKS = 16
_STROBE_PERIODS = 3.0
_NEAR_MS = 5.0


def _leap_ms(seen: Observation) -> float | None:
    """By how much the node's wall clock has left its monotonic one, beside what ours have."""
    if seen.wall_ns is None or seen.monotonic_ns is None:
        return None
    wall_ns, monotonic_ns = seen.wall_ns - seen.base_wall_ns, seen.monotonic_ns - seen.base_ns
    return (wall_ns - monotonic_ns) / 1e6


class ClockFamily:
    """start-clock-jump (one-shot), start/stop-clock-strobe, start/stop-clock-drift."""

    faults = frozenset(_KINDS)

    def __init__(self, world: World, ledger: Ledger | None = None) -> None:
        self._world = world
        self._ledger = ledger or Ledger()
        self._open: dict[str, tuple[Act, tuple[str, ...]]] = {}
        limit = world.limits.get(Fault.CLOCK_DRIFT, Limit())
        self._drift_max = _DRIFT_MAX if limit.size is None else limit.size
        self._available = [name for name, kind in _KINDS.items() if kind in world.faults]

    def kinds(self, name: str) -> frozenset[Fault]:
        """All clock faults that are possible here."""
        return frozenset(_KINDS[fault] for fault in self._available)

    def draft(self, name: str, stream: Stream) -> Draft:
        """Jumps from 11 ms to 288 s either way, in powers of 1.5; strobes; drift inside the bound."""
        fault = stream.choice(self._available)
        target = (stream.choice(_ROLES),)
        if fault == "clock-jump":
            delta_ms = stream.choice((-1, 1)) * 1.5 ** stream.uniform(6, 31)
            parameters = {"delta_ms": round(delta_ms, 3)}
            return Draft(fault=fault, targets=target, parameters=parameters, lasting=False)
        if fault == "clock-strobe":
            parameters = {
                "delta_ms": round(2 ** stream.uniform(2, 18), 3),
                "period_ms": round(2 ** stream.uniform(3, 10), 3),
            }
            return Draft(fault=fault, targets=target, parameters=parameters)
        rate = stream.choice((-1, 1)) * stream.uniform(self._drift_max / 2, self._drift_max)
        return Draft(fault=fault, targets=target, parameters={"rate": round(rate, 4)})

    async def start(self, act: Act) -> Outcome:
        """Set the clocks, reading them before and after."""
        names = resolve_targets(self._world, act, await self._world.running.primaries())
        self._ledger.began(act.id, act.fault, nodes=names)
        self._open[act.id] = (act, names)
        proofs = await gather_in_order([self._start_one(name, act) for name in names])
        if act.fault == "clock-jump":
            del self._open[act.id]
            self._ledger.ended(act.id)
        return names, act.parameters, proofs

    async def _start_one(self, name: str, act: Act) -> Proof:
        before = await self._look(name)
        if before[0].monotonic_ns is None:
            return self._proof(name, None, "its clock could not be read")
        try:
            await self._apply(name, act)
        except (ConnectionError, TimeoutError) as error:
            return self._proof(name, None, f"could not be asked: {error}")
        # What the same fault of another id did before would be taken for this one's effect.
        rivals = {"clock-drift"} if act.fault == "clock-drift" else {"clock-strobe"}
        rival = self._ledger.disturbance((name,), rivals, but=act.id)
        if rival is not None:
            return Proof(target=name, masked=rival, observed=f"its clock was held by {rival}")
        if act.fault == "clock-jump":
            return await self._jumped(name, before[0], float(act.parameters["delta_ms"]))
        if act.fault == "clock-strobe":
            delta_ms, period_ms = (act.parameters[key] for key in ("delta_ms", "period_ms"))
            return await self._strobed(name, abs(float(delta_ms)), float(period_ms))
        return await self._drifted(name, float(act.parameters["rate"]))

    async def _apply(self, name: str, act: Act) -> None:
        clock = self._world.testbed.clock
        if act.fault == "clock-drift":
            await clock.drift(name, float(act.parameters["rate"]))
            return
        delta_ms = float(act.parameters["delta_ms"])
        if act.fault == "clock-jump":
            await clock.jump(name, delta_ms)
        else:
            await clock.strobe(name, delta_ms, float(act.parameters["period_ms"]))

    def _proof(self, name: str, effective: bool | None, seen: str) -> Proof:
        return mask(self._world, name, (name,), effective, seen, self._ledger)

    async def _look(self, name: str) -> tuple[Observation, float]:
        """An observation, and by how many nanoseconds its base clock may be off: half its time."""
        began_ns = self._world.testbed.time_ns()
        seen = await self._world.testbed.node(name).observe()
        return seen, (self._world.testbed.time_ns() - began_ns) / 2

    async def _jumped(self, name: str, before: Observation, delta_ms: float) -> Proof:
        after, _ = await self._look(name)
        was, now = _leap_ms(before), _leap_ms(after)
        if was is None or now is None or before.started != after.started:
            return self._proof(name, None, "its clock could not be read")
        moved = now - was
        near_ms = min(max(_NEAR_MS, abs(delta_ms) * 0.2), abs(delta_ms) * 0.5)
        effective = abs(moved - delta_ms) <= near_ms
        return self._proof(name, effective, f"wall clock moved {moved:.1f} ms")

    async def _strobed(self, name: str, delta_ms: float, period_ms: float) -> Proof:
        """Look again and again for three periods, or until both halves of the flip were seen."""
        leaps: list[float] = []
        pause_s = max(_STROBE_PERIODS * period_ms / _STROBE_LOOKS, 3.0) / 1000
        spread = 0.0
        for _ in range(_STROBE_LOOKS + 1):
            seen, _ = await self._look(name)
            leap = _leap_ms(seen)
            if leap is not None:
                leaps.append(leap)
                spread = max(leaps) - min(leaps)
            if spread >= delta_ms * 0.5 and len(leaps) > 1:
                break
            await asyncio.sleep(pause_s)
        if len(leaps) < 2:
            return self._proof(name, None, "its clock could not be read")
        words = f"wall clock seen {spread:.1f} ms apart"
        if spread >= delta_ms * 0.5:
            return self._proof(name, True, words)
        return self._proof(name, False if len(leaps) >= _STROBE_LOOKS // 2 else None, words)

    async def _drifted(self, name: str, rate: float) -> Proof:
        """Compare speeds for half a second, or as long as it takes to be sure."""
        first, first_slack_ns = await self._look(name)
        speed, doubt = 0.0, 1.0
        for _ in range(_DRIFT_LOOKS):
            await asyncio.sleep(_DRIFT_SAMPLE_S)
            last, slack_ns = await self._look(name)
            if first.monotonic_ns is None or last.monotonic_ns is None:
                return self._proof(name, None, "its clock could not be read")
            if first.started != last.started:
                return self._proof(name, None, "it was started anew")
            true_ns = max(1, last.base_ns - first.base_ns)
            speed = (last.monotonic_ns - first.monotonic_ns) / true_ns - 1
            doubt = (first_slack_ns + slack_ns) / true_ns
            if doubt <= abs(rate) * 0.25:
                break
        words = f"ran at {1 + speed:.3f} of true speed"
        if doubt > abs(rate) * 0.25:
            return self._proof(name, None, f"{words}, give or take {doubt:.3f}")
        return self._proof(name, abs(speed - rate) <= abs(rate) * 0.5, words)

    async def stop(self, act: Act) -> Outcome:
        """Right clocks again on the targets that are alive, and see that they are right."""
        self._open.pop(act.id, None)
        self._ledger.ended(act.id)
        proofs = await gather_in_order([self._righted(name) for name in act.targets])
        return act.targets, act.parameters, proofs

    async def heal(self) -> Outcome:
        """Right clocks everywhere."""
        self._open.clear()
        self._ledger.healed(CLOCKS)
        await gather_in_order([self._reset(name) for name in self._world.spec.nodes])
        return (), {}, ()

    async def _righted(self, name: str) -> Proof:
        await self._reset(name)
        rival = self._ledger.disturbance((name,), CLOCKS)
        if rival is not None:
            return Proof(target=name, masked=rival, observed=f"its clock was held by {rival}")
        seen, slack_ns = await self._look(name)
        if seen.wall_ns is None:
            return self._proof(name, None, "its clock could not be read")
        off_ms = (seen.wall_ns - seen.base_wall_ns) / 1e6
        right = abs(off_ms) <= _NEAR_MS + slack_ns / 1e6
        return self._proof(name, right, f"wall clock {off_ms:.1f} ms off")

    async def _reset(self, name: str) -> None:
        """Right clocks, but for the faults of other ids that still hold this node's."""
        try:
            await self._world.testbed.clock.reset(name)
            for act, names in self._open.values():
                if name in names:
                    await self._apply(name, act)
        except TimeoutError:
            self._ledger.owe(name, partial(self._reset, name))  # paused: once it goes on
        except ConnectionError:
            return  # a dead node comes back with right clocks
