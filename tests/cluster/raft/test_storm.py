"""The correct core in random storms: partitions, one-way cuts, loss, doubling, reordering, kills, loss
of power, pauses, slow disks, slow apply, transfers, compaction; then peace, and all must agree.

To replay a seed: ``Storm(seed, size=3 or 5, ...).run(ROUNDS)`` as below.
"""

from __future__ import annotations

from collections import Counter

import pytest

from .storm import LEASE, Storm

ROUNDS = 200
CHUNK = 25


def weather(seed: int) -> Storm:
    """Odd seeds have three nodes, even ones five; each third reads by lease, with drifting clocks."""
    lease = seed % 3 == 0
    return Storm(
        seed,
        size=3 if seed % 2 else 5,
        options=LEASE if lease else None,
        drift=0.12 if lease else 0.0,
    )


def run(seeds: range) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in seeds:
        storm = weather(seed)
        try:
            world = storm.run(ROUNDS)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        seen["acked"] += len(world.acked)
        seen["reads"] += world.served
        seen["leases"] += storm.leases
        seen["restarts"] += storm.restarts
        seen["terms"] += len(world.leaders)
        seen["snapshots"] += sum(m.raft.snapshot is not None for m in world.members.values())
    return seen


@pytest.mark.parametrize("chunk", range(12))
def test_correct_core_survives(chunk: int) -> None:
    seen = run(range(chunk * CHUNK, (chunk + 1) * CHUNK))
    # A storm in which nothing happens proves nothing.
    assert seen["acked"] > 20 * CHUNK
    assert seen["reads"] > 20 * CHUNK
    assert seen["leases"] > 20 * CHUNK
    assert seen["restarts"] > 2 * CHUNK
    assert seen["terms"] > 2 * CHUNK
    assert seen["snapshots"] > CHUNK / 2


@pytest.mark.deep
@pytest.mark.parametrize("chunk", range(40))
def test_correct_core_survives_for_long(chunk: int) -> None:
    run(range(100_000 + chunk * 100, 100_100 + chunk * 100))


@pytest.mark.parametrize("joint", [False, True])
def test_correct_core_survives_changes_of_membership(joint: bool) -> None:
    changes = 0
    for seed in range(40):
        storm = Storm(seed, size=5, membership=True, joint=joint)
        try:
            storm.run(ROUNDS)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        changes += storm.changes
    assert changes > 100


@pytest.mark.deep
def test_correct_core_survives_changes_of_membership_for_long() -> None:
    for seed in range(100_000, 102_000):
        Storm(seed, size=5, membership=True, joint=seed % 2 == 0).run(ROUNDS)


def test_a_seed_gives_one_run() -> None:
    def trace(seed: int) -> list[object]:
        storm = weather(seed)
        world = storm.run(60)
        return [storm.sent, sorted(world.acked.items()), storm.describe()]

    assert trace(8) == trace(8)
    assert trace(8) != trace(9)
