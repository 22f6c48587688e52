"""Random runs of the correct rules: no promise is broken, whatever clients and messages do."""

from __future__ import annotations

from collections import Counter

import pytest

from .clients import KINDS
from .runs import run

MIXES = [(kind,) for kind in KINDS] + [KINDS]
ASKED = {
    "BatchGet",
    "BatchRollback",
    "CheckSecondaryLocks",
    "CheckTxnStatus",
    "Commit",
    "Get",
    "PessimisticLock",
    "PessimisticRollback",
    "Prewrite",
    "ResolveLock",
    "Scan",
    "ScanLock",
    "TxnHeartBeat",
}


@pytest.mark.parametrize("kinds", MIXES, ids=lambda kinds: "+".join(kinds))
def test_no_promise_is_broken(kinds: tuple[str, ...]) -> None:
    asked: Counter[str] = Counter()
    commits = 0
    for seed in range(350):
        world = run(seed, kinds=kinds)
        asked.update(world.seen)
        commits += len(world.commits)
    assert commits > 1_000
    if kinds == KINDS:
        assert set(asked) == ASKED


@pytest.mark.deep
@pytest.mark.parametrize("kinds", MIXES, ids=lambda kinds: "+".join(kinds))
def test_no_promise_is_broken_in_many_runs(kinds: tuple[str, ...]) -> None:
    for seed in range(1_000_000, 1_040_000):
        run(seed, kinds=kinds, size=3 + seed % 3)


def test_a_seed_gives_one_run() -> None:
    one, two = (run(7, kinds=KINDS) for _ in range(2))
    assert one.commits == two.commits
    assert one.state.snapshot() == two.state.snapshot()
