"""Random kills, losses of power and cuts under load: no answer may turn out to be a lie.

Each write puts a key of its own, so at the end the state says of each what became of it.
"""

from __future__ import annotations

from random import Random as Draws

import pytest

from splitbrain.cluster import messages as m

KNOBS = (
    {},
    {"snapshot_every": 5, "snapshot_tail": 0},
    {"slow_apply_ms": 30.0, "entries_per_append": 1, "snapshot_every": 20, "snapshot_tail": 3},
    {"slow_commit_ms": 200.0, "inflight": 2, "election_timeouts": {"*": 1.0}},
)


def fault(world, draws):
    """One at random; each heals the last one."""
    world.cuts.clear()
    alive = [name for name in world.nodes if name in world.stores]
    dead = [name for name in world.nodes if name not in world.stores]
    kind = draws.choice(["cut", "one-way", "kill", "power", "power-all", "restart", "transfer"])
    if dead:
        world.start(*dead)
    elif kind == "power-all":
        world.power(*alive, torn_bytes=draws.randrange(200))
        world.start()
    elif kind == "cut":
        world.isolate(draws.choice(alive))
    elif kind == "one-way":
        node = draws.choice(alive)
        world.cuts |= {(other, node) for other in alive if other != node}
    elif kind == "transfer":
        for name in alive:
            if world.stores[name].status().get("role") == "leader":
                world.stores[name].control("transfer-leader", {"to": draws.choice(alive)})
    elif kind == "kill":
        world.kill(draws.choice(alive))
    elif kind == "power":
        world.power(draws.choice(alive), torn_bytes=draws.randrange(200))


def torture(new_world, seed, knobs):
    draws = Draws(seed)
    world = new_world(seed=seed, **knobs)
    for disk in world.disks.values():
        disk.sync_ns = draws.choice([100_000, 1_000_000, 20_000_000])
    world.start()
    tokens = {}
    for step in range(400):
        if step % 40 == 39:
            fault(world, draws)
        for name in world.nodes:
            if name in world.stores:
                key = b"%s-%d" % (name.encode(), step)
                tokens[world.ask(name, m.RawPut(key, b"v"))] = key
        world.run_ms(25)
    world.mend()
    world.run_ms(10_000)
    answer = world.call(world.leader(), m.RawScan(b"", limit=1 << 30))
    assert answer is not None
    assert answer.error is None
    present = {key for key, _ in answer.pairs}
    done = {key for t, key in tokens.items() if world.replies.get(t) == m.RawPutReply()}
    refused = {
        key
        for token, key in tokens.items()
        if token in world.replies
        and world.replies[token].error is not None
        and not isinstance(world.replies[token].error, m.UndeterminedResult)
    }
    world.run_ms(2000)
    assert len(world.digests()) == 1, "replicas differ"
    return done, refused, present


@pytest.mark.parametrize("number", range(len(KNOBS)))
@pytest.mark.parametrize("seed", range(3))
def test_no_answer_is_a_lie(new_world, seed, number):
    done, refused, present = torture(new_world, seed, KNOBS[number])
    assert len(done) > 100
    assert done <= present, "acknowledged and lost"
    assert not refused & present, "refused and there"


@pytest.mark.parametrize("bug", ["dropped-proposal-says-no", "ack-on-append"])
def test_the_torture_finds_liars(new_world, bug):
    lies = 0
    for seed in range(8):
        for knobs in KNOBS:
            done, refused, present = torture(new_world, seed, {**knobs, "bugs": (bug,)})
            lies += len(done - present) + len(refused & present)
    assert lies > 0
