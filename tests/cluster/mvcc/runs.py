"""One random run, from a seed: clients, faults, a sweep of what is left, and the judgement."""

from __future__ import annotations

import random

from splitbrain.cluster.messages.context import Context, ReplicaRead
from splitbrain.cluster.messages.txn import Get
from splitbrain.cluster.mvcc.service import Mvcc
from splitbrain.cluster.storage.columns import Column

from .clients import KINDS, Actor
from .oracle import Snapshots, judge
from .world import Broken, World

__all__ = ["run"]


def run(
    seed: int,
    rules: Mvcc | None = None,
    *,
    kinds: tuple[str, ...] = KINDS,
    white_box: bool = True,
    calm: bool = False,
    size: int = 3,
) -> World:
    """A run of ``size`` clients.

    Raises:
        Broken: the first promise that was not kept.
    """
    stream = random.Random(f"mvcc/{seed}")
    world = World(stream, rules, white_box=white_box)
    world.delay = stream.choice((2, 4, 10))
    world.lag = stream.choice((1, 3, 12))
    world.loss = stream.choice((0.0, 0.0, 0.05, 0.15))
    world.doubling = stream.choice((0.0, 0.1, 0.3))
    trouble = stream.choice((0.0, 0.1, 0.3))
    if calm:
        world.loss = world.doubling = trouble = 0.0
    keys = [b"a", b"b", b"longer-than-eight", b"d"][: stream.randint(1, 4)]
    chosen = kinds if stream.random() < 0.5 else (stream.choice(kinds),)
    actors = [Actor(world, random.Random(stream.random()), keys, chosen) for _ in range(size)]
    for actor in actors:
        actor.trouble = trouble
        actor.ttl_ms = stream.choice((20, 40, 100))
        world.start(actor.life(stream.randint(1, 4)), stream.randrange(20))
    if not calm:
        for _ in range(stream.choice((0, 0, 1, 3))):
            world.at(stream.randrange(200), world.change_leader)
    for _ in range(stream.choice((0, 2, 6))):
        world.at(stream.randrange(300), lambda: collect(world, actors))
    for _ in range(stream.choice((0, 1, 4))):
        world.at(stream.randrange(300), world.replicate)
    world.run()
    world.now += 1_000
    world.loss = world.doubling = 0.0
    sweeper = Actor(world, stream, keys, kinds)
    world.start(sweeper.sweep())
    world.run()
    if world.state.count(Column.LOCK):
        raise Broken("unresolved", "locks are left after the sweep")
    collect(world, actors)
    judge([txn for actor in actors for txn in actor.txns], world.commits)
    check_replicas(world, keys)
    return world


def check_replicas(world: World, keys: list[bytes]) -> None:
    """What a replica said at its safe timestamp is what was there in the end."""
    model = Snapshots(world.commits)
    for version, state in world.replicas:
        for key in keys:
            request = Get(key, version, Context(replica_read=ReplicaRead.STALE))
            reply = world.rules.read(request, state)
            if reply.error is not None or reply.value != model.read(key, version):
                raise Broken("stale-read", f"{key!r} at safe {version}: {reply}")


def collect(world: World, actors: list[Actor]) -> None:
    live = [txn.start_ts for actor in actors for txn in actor.txns if not txn.done]
    world.collect(live)
