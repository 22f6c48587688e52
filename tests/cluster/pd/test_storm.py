"""Three members of PD in storms: kills, loss of power, cuts, late and doubled messages, clocks that
jump; clients ask all of them for timestamps and ids the whole time.

Two promises.  A timestamp is larger than any that anybody had received when it was asked for, and none
is given twice; no id is given twice.  And when the storm is over, service returns.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random as Draws

import pytest

from splitbrain.cluster.bugs.pd_bugs import PD_BUGS
from splitbrain.cluster.messages import pd, pd_errors
from splitbrain.cluster.messages.pd_types import compose_ts

S = 1_000_000_000
KINDS = ("clock", "clock", "kill", "power", "all", "cut", "cut", "one-way", "net", "transfer")
KNOBS = (
    {},
    {"pd_snapshot_every": 20, "pd_snapshot_tail": 0, "id_block": 10},
    {"tso_window_s": 0.3, "id_block": 3},
)


def fault(world, draws):
    """One at random; each heals the last one."""
    world.cuts.clear()
    world.slow_ms, world.loss, world.doubling = 0.0, 0.0, 0.0
    alive = [name for name in world.nodes if name in world.stores]
    dead = [name for name in world.nodes if name not in world.stores]
    if dead:
        world.start(*dead)
    leaders = world.serving() or alive
    victim = draws.choice([*alive, *leaders])
    kind = draws.choice(KINDS)
    if kind == "clock":
        world.wall_offset_ns[victim] = int(draws.uniform(-60, 60) * S)
    elif kind == "kill":
        world.kill(victim)
    elif kind == "power":
        world.power(victim, torn_bytes=draws.randrange(100))
    elif kind == "all":
        world.power(*alive, torn_bytes=draws.randrange(100))
        world.start()
    elif kind == "cut":
        world.isolate(victim)
    elif kind == "one-way":
        others = [name for name in world.nodes if name != victim]
        into = draws.random() < 0.5
        world.cuts |= {(one, victim) if into else (victim, one) for one in others}
    elif kind == "net":
        world.slow_ms, world.loss, world.doubling = draws.uniform(0, 400), 0.1, 0.2
    else:
        world.stores[leaders[0]].control("transfer-leader", {"to": draws.choice(world.nodes)})


def storm(pd_world, seed, *bugs):
    """The world after it, and what was asked: token -> request."""
    draws = Draws(seed)
    world = pd_world(seed=seed, bugs=bugs, scale=1 / 3, **KNOBS[seed % len(KNOBS)])
    for disk in world.disks.values():
        disk.sync_ns = draws.choice([100_000, 1_000_000, 20_000_000])
    world.start()
    asked = {}
    for step in range(1500):
        if step % 75 == 74:
            fault(world, draws)
        for name in world.nodes:
            count = draws.choice([1, 1, 3, 64])
            asked[world.ask(name, pd.Tso(count))] = pd.Tso(count)
            if step % 10 == 0:
                asked[world.ask(name, pd.AllocId(count))] = pd.AllocId(count)
        world.run_ms(20)
    return world, asked


def wrong_timestamps(world, asked) -> list[str]:
    """Each pair that breaks the promise, in words."""
    given = []
    for token, request in asked.items():
        answer = world.replies.get(token)
        if isinstance(request, pd.Tso) and answer is not None and answer.error is None:
            last = compose_ts(answer.physical, answer.logical)
            sent, came = world.order[token]
            given.append((last - request.count + 1, last, sent, came))
    assert len(given) > 100, "hardly anything was served"
    wrong = []
    given.sort()
    for (_, before, _, _), (first, last, _, _) in pairwise(given):
        if first <= before:
            wrong.append(f"{first}..{last} overlaps what ends at {before}")
    # Going down from the largest: nothing smaller may have been asked for after it had come.
    earliest = float("inf")
    for first, _, sent, came in reversed(given):
        if sent > earliest:
            wrong.append(f"{first} was asked for after a larger one had come")
        earliest = min(earliest, came)
    return wrong


def ids_given(world, asked) -> list[int]:
    given = []
    for token, request in asked.items():
        answer = world.replies.get(token)
        if isinstance(request, pd.AllocId) and answer is not None and answer.error is None:
            given += range(answer.id - request.count + 1, answer.id + 1)
    return given


def promises(pd_world, seed):
    world, asked = storm(pd_world, seed)
    assert not wrong_timestamps(world, asked)
    given = ids_given(world, asked)
    assert len(given) > 100
    assert len(given) == len(set(given))
    world.cuts.clear()
    world.slow_ms, world.loss, world.doubling = 0.0, 0.0, 0.0
    world.start(*(name for name in world.nodes if name not in world.stores))
    world.run_ms(5000)
    answer = world.call(world.leader(1000), pd.Tso(), 1000)
    assert answer.error is None
    world.run_ms(2000)

    def dumps():
        """(applied index, digest) of each: bounds are stored all the time, one applies them first."""
        return {tuple(node.control("dump", {}).values()) for node in world.stores.values()}

    assert world.run_ms(2000, lambda: len({applied for applied, _ in dumps()}) == 1)
    assert len(dumps()) == 1, "members differ"
    others = [name for name in world.nodes if name != world.leader()]
    error = pd_errors.PdNotLeader(world.leader())
    assert [world.call(name, pd.Tso()).error for name in others] == [error, error]


@pytest.mark.parametrize("seed", range(6))
def test_promises_hold_in_storms(pd_world, seed):
    promises(pd_world, seed)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(6, 150))
def test_promises_hold_in_many_storms(pd_world, seed):
    promises(pd_world, seed)


@pytest.mark.parametrize("bug", PD_BUGS)
def test_storms_find_seeded_bugs(pd_world, bug):
    for seed in range(6):
        world, asked = storm(pd_world, seed, bug)
        probes = [node.status()["probes"].get(bug, 0) for node in world.stores.values()]
        if wrong_timestamps(world, asked):
            assert sum(probes) > 0
            return
    pytest.fail("not found")


def test_bugs_are_joined(pd_world):
    world, asked = storm(pd_world, 0, *PD_BUGS, "a-bug-of-another-part")
    assert wrong_timestamps(world, asked)
    for node in world.stores.values():
        assert set(node.status()["probes"]) <= set(PD_BUGS)
