"""Faults of clocks: jumps and strobes of the wall clock, drift of both clocks."""

from __future__ import annotations

import asyncio

from splitbrain.contracts.fault import Fault, Limit, Proof
from splitbrain.contracts.test import World
from splitbrain.contracts.testbed import Observation
from splitbrain.env.random import Stream
from splitbrain.nemesis.base import Act, Draft, Outcome, gather_in_order, mask, resolve_targets

__all__ = ["ClockFamily"]

_KINDS = {
    "clock-jump": Fault.CLOCK_JUMP,
    "clock-strobe": Fault.CLOCK_STROBE,
    "clock-drift": Fault.CLOCK_DRIFT,
}
_ROLES = ("one", "minority", "majority", "all", "leader")
_DRIFT_MAX = 0.1
_DRIFT_SAMPLE_S = 0.5
_STROBE_SAMPLES = 8


def _offset_ms(seen: Observation) -> float | None:
    """By how much the node's wall clock is ahead of the observer's."""
    if seen.wall_ns is None:
        return None
    return (seen.wall_ns - seen.base_wall_ns) / 1e6


class ClockFamily:
    """start-clock-jump (one-shot), start/stop-clock-strobe, start/stop-clock-drift."""

    faults = frozenset(_KINDS)

    def __init__(self, world: World) -> None:
        self._world = world
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
        proofs = await gather_in_order([self._start_one(name, act) for name in names])
        return names, act.parameters, proofs

    async def _start_one(self, name: str, act: Act) -> Proof:
        clock, node = self._world.testbed.clock, self._world.testbed.node(name)
        before = await node.observe()
        if before.monotonic_ns is None:
            return mask(self._world, name, (name,), None, "its clock could not be read")
        if act.fault == "clock-jump":
            delta_ms = float(act.parameters["delta_ms"])
            await clock.jump(name, delta_ms)
            return await self._jumped(name, before, delta_ms)
        if act.fault == "clock-strobe":
            delta_ms = float(act.parameters["delta_ms"])
            period_ms = float(act.parameters["period_ms"])
            await clock.strobe(name, delta_ms, period_ms)
            return await self._strobed(name, delta_ms, period_ms)
        rate = float(act.parameters["rate"])
        await clock.drift(name, rate)
        return await self._drifted(name, rate)

    async def _jumped(self, name: str, before: Observation, delta_ms: float) -> Proof:
        after = await self._world.testbed.node(name).observe()
        was, now = _offset_ms(before), _offset_ms(after)
        if was is None or now is None:
            return mask(self._world, name, (name,), None, "its clock could not be read")
        moved = now - was
        effective = abs(moved - delta_ms) <= max(5.0, abs(delta_ms) * 0.2)
        return mask(self._world, name, (name,), effective, f"wall clock moved {moved:.1f} ms")

    async def _strobed(self, name: str, delta_ms: float, period_ms: float) -> Proof:
        node = self._world.testbed.node(name)
        offsets = []
        for sample in range(_STROBE_SAMPLES):
            # Steps that are no multiple of the period see both halves of the flip.
            await asyncio.sleep((period_ms / 1000 * 0.5 + 0.003) * (1 + sample % 2))
            offset = _offset_ms(await node.observe())
            if offset is not None:
                offsets.append(offset)
        if not offsets:
            return mask(self._world, name, (name,), None, "its clock could not be read")
        spread = max(offsets) - min(offsets)
        seen = f"wall clock seen {spread:.1f} ms apart"
        return mask(self._world, name, (name,), spread >= delta_ms * 0.5, seen)

    async def _drifted(self, name: str, rate: float) -> Proof:
        node = self._world.testbed.node(name)
        first = await node.observe()
        await asyncio.sleep(_DRIFT_SAMPLE_S)
        last = await node.observe()
        if first.monotonic_ns is None or last.monotonic_ns is None:
            return mask(self._world, name, (name,), None, "its clock could not be read")
        true_ns = last.base_ns - first.base_ns
        seen = (last.monotonic_ns - first.monotonic_ns) / true_ns - 1 if true_ns else 0.0
        effective = abs(seen - rate) <= abs(rate) * 0.5
        return mask(
            self._world, name, (name,), effective, f"ran at {1 + seen:.3f} of true speed"
        )

    async def stop(self, act: Act) -> Outcome:
        """Right clocks again on the targets that are alive."""
        await gather_in_order([self._reset(name) for name in act.targets])
        return act.targets, act.parameters, ()

    async def heal(self) -> Outcome:
        """Right clocks everywhere."""
        await gather_in_order([self._reset(name) for name in self._world.spec.nodes])
        return (), {}, ()

    async def _reset(self, name: str) -> None:
        try:
            await self._world.testbed.clock.reset(name)
        except (ConnectionError, TimeoutError):
            # A dead node comes back with right clocks; a paused one is reset by the final heal.
            return
