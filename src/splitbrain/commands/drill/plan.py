"""Which runs a drill makes, in which order, and how long they may take; nothing is run here.

First come the seeds that failed in an earlier drill, then every scenario in the file's order with
the rest of its seeds.  A shard is a part of the scenarios: shards share no scenario and together
make the whole, whoever works them out, because only the file decides; expected times are spread
evenly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from splitbrain.commands.drill.matrix import Drill, Scenario
from splitbrain.contracts.spec import TestSpec

__all__ = ["Pace", "Plan", "Turn", "estimate_s", "make_plan", "shard_members"]

_SIM_SPEED = 20.0
"""Simulated seconds a second, with time for judging; measured 25 to 50 at 100 operations a second."""
_SIM_EXTRA_S = 0.5
_REAL_EXTRA_S = 10.0
"""Start of the nodes, final phase, judging and report of a run on real processes."""


class Turn(msgspec.Struct, frozen=True):
    """One run to be made.

    Attributes:
        scenario: its place in the drill.
        repeated: its seed failed in an earlier drill.
    """

    scenario: int
    seed: int
    repeated: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The turns of a drill, or of one shard of it.

    Attributes:
        members: places of the scenarios that are run here; the others belong to other shards.
    """

    drill: Drill
    turns: tuple[Turn, ...]
    members: frozenset[int]
    shard: str = ""

    def groups(self) -> Iterator[tuple[int, tuple[Turn, ...]]]:
        """Turns of one scenario that follow each other."""
        for scenario, turns in groupby(self.turns, key=lambda turn: turn.scenario):
            yield scenario, tuple(turns)

    def spec(self, turn: Turn) -> TestSpec:
        """What a turn runs."""
        scenario = self.drill.scenarios[turn.scenario]
        return msgspec.structs.replace(scenario.spec, seed=turn.seed)

    @property
    def seconds(self) -> float:
        """Expected wall time of all turns."""
        return sum(estimate_s(self.spec(turn)) for turn in self.turns)


def make_plan(
    drill: Drill,
    *,
    shard: tuple[int, int] = (1, 1),
    remembered: Mapping[str, Sequence[int]] | None = None,
) -> Plan:
    """Plan a drill; ``remembered`` holds seeds that failed before, by scenario."""
    number, count = shard
    members = shard_members(drill.scenarios, number, count)
    before, after = [], []
    for place in sorted(members):
        scenario = drill.scenarios[place]
        again = tuple(dict.fromkeys((remembered or {}).get(scenario.name, ())))
        before += [Turn(place, seed, True) for seed in again]
        after += [Turn(place, seed) for seed in scenario.seeds if seed not in again]
    return Plan(
        drill=drill,
        turns=(*before, *after),
        members=members,
        shard=f"{number}/{count}" if count > 1 else "",
    )


def shard_members(scenarios: Sequence[Scenario], number: int, count: int) -> frozenset[int]:
    """Places of the scenarios of one shard: longest first, each to the shard with least so far."""
    seconds = [estimate_s(one.spec) * len(one.seeds) for one in scenarios]
    load = [0.0] * count
    mine = set()
    for place in sorted(range(len(scenarios)), key=lambda place: (-seconds[place], place)):
        least = min(range(count), key=lambda shard: (load[shard], shard))
        load[least] += seconds[place]
        if least == number - 1:
            mine.add(place)
    return frozenset(mine)


def estimate_s(spec: TestSpec) -> float:
    """Expected wall time of a run, before anything is known of the machine.

    >>> estimate_s(TestSpec(workload="register", time_limit_s=60))
    70.0
    >>> estimate_s(TestSpec(workload="register", substrate="sim", time_limit_s=60))
    3.5
    """
    if spec.substrate == "sim":
        return _SIM_EXTRA_S + spec.time_limit_s / _SIM_SPEED * max(1.0, spec.rate_hz / 100)
    return _REAL_EXTRA_S + spec.time_limit_s


class Pace:
    """How long runs take, learned from those that were made.

    The next run of a scenario is expected to take as long as its longest so far; the first one the
    estimate, or more if runs on the same substrate have taken more than estimated.
    """

    def __init__(self) -> None:
        self._longest: dict[int, float] = {}
        self._slowness: dict[str, float] = {}

    def learn(self, scenario: int, spec: TestSpec, seconds: float) -> None:
        """A run of a scenario took so long."""
        self._longest[scenario] = max(seconds, self._longest.get(scenario, 0.0))
        ratio = seconds / estimate_s(spec)
        self._slowness[spec.substrate] = max(ratio, self._slowness.get(spec.substrate, 1.0))

    def expected_s(self, scenario: int, spec: TestSpec) -> float:
        """Seconds that the next run of a scenario may take."""
        if scenario in self._longest:
            return self._longest[scenario]
        return estimate_s(spec) * self._slowness.get(spec.substrate, 1.0)
