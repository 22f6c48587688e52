"""Random runs of transactions: the correct client keeps every promise; each planted bug breaks one.

A run that finds nothing proves nothing, so each bug has a probe, and must be found within so many
seeds.  The correct client is tried with all of the same seeds and plans.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from splitbrain.cluster.client.backoff import OutOfPatience
from splitbrain.cluster.client.committer import Committer
from splitbrain.cluster.client.resolver import Resolver, Status
from splitbrain.cluster.client.standing import Dropped
from splitbrain.cluster.client.txn import TxnClient
from splitbrain.errors import Definite, Undetermined

from .bank import Broken, Plan, run

OPTIMISTIC = Plan(paths=("plain", "parallel"), pessimistic=False)


def count(probes: dict[str, int]) -> None:
    probes["bug"] = probes.get("bug", 0) + 1


class AckBeforePrimary(Committer):
    """P09: told ok once all is prewritten."""

    async def _second_phase(self, patience: Any) -> None:
        count(self.probes)
        self.access.background.start(self.later(patience))

    async def later(self, patience: Any) -> None:
        with contextlib.suppress(Dropped):
            await super()._second_phase(patience)


class SecondaryFirst(Committer):
    """P11"""

    async def _second_phase(self, patience: Any) -> None:
        count(self.probes)
        self.standing.commit_ts = commit_ts = await self._take_commit_ts(patience)
        with contextlib.suppress(Definite, OutOfPatience):
            await self._commit_secondaries(list(self.keys[1:]))
        await self._commit_primary(commit_ts, patience)


class CommitTsEarly(Committer):
    """P14: the commit timestamp is taken before the keys are locked."""

    async def _prewrite_phase(self, patience: Any) -> bool:
        self.early_ts = await self.access.pd.timestamp(patience)
        return await super()._prewrite_phase(patience)

    async def _take_commit_ts(self, patience: Any) -> int:
        count(self.probes)
        return self.early_ts


class TimeoutIsFail(Committer):
    """C01"""

    def _unknown(self, code: str) -> Any:
        count(self.probes)
        raise Definite(code, "taken for a failure")


class EarlyRollback(Resolver):
    """P06: a lock in the way is rolled back, and its primary never asked."""

    async def _ask_primary(self, *arguments: Any) -> Status:
        count(self.probes)
        return Status(final=True)


class NotFoundIsRollback(Resolver):
    """P31: no primary yet means rolled back."""

    def _not_found(self, *arguments: Any) -> Status:
        count(self.probes)
        return Status(final=True)


class UndeterminedRedo(TxnClient):
    """C02: what may have been done is done once more."""

    def _may_redo(self, error: Exception, options: Any) -> bool:
        redone = isinstance(error, Undetermined) and error.code != "client-dropped"
        if redone:
            count(self.probes)
        return redone or super()._may_redo(error, options)


CASES = [
    ("P06", OPTIMISTIC._replace(parts={"resolver": EarlyRollback}, calm=True), 40),
    ("P09", OPTIMISTIC._replace(parts={"committer": AckBeforePrimary}), 40),
    ("P11", OPTIMISTIC._replace(parts={"committer": SecondaryFirst}), 100),
    ("P14", OPTIMISTIC._replace(parts={"committer": CommitTsEarly}), 100),
    ("P31", OPTIMISTIC._replace(parts={"resolver": NotFoundIsRollback}), 400),
    ("C01", Plan(parts={"committer": TimeoutIsFail}), 200),
    ("C02", Plan(make=UndeterminedRedo), 300),
]


@pytest.mark.parametrize("part", range(4))
def test_the_correct_client_keeps_every_promise(part: int) -> None:
    outcomes: set[str] = set()
    for seed in range(part * 40, part * 40 + 40):
        outcomes |= {name.split("/")[0] for name in run(seed).outcomes}
    assert outcomes == {"ok", "failed", "unknown"}


@pytest.mark.deep
@pytest.mark.parametrize("part", range(20))
def test_the_correct_client_keeps_every_promise_for_long(part: int) -> None:
    for seed in range(1_000 + part * 500, 1_500 + part * 500):
        run(seed)


@pytest.mark.parametrize(("name", "plan", "seeds"), CASES, ids=[case[0] for case in CASES])
def test_a_planted_bug_is_found(name: str, plan: Plan, seeds: int) -> None:
    found = next(filter(None, (breach(seed, plan) for seed in range(seeds))), None)
    assert found is not None, f"{name} not found in {seeds} runs"
    assert found.probed, f"something else broke: {found}"


def breach(seed: int, plan: Plan) -> Broken | None:
    try:
        run(seed, plan)
    except Broken as broken:
        return broken
    return None


@pytest.mark.parametrize("plan", [OPTIMISTIC, OPTIMISTIC._replace(calm=True)])
def test_the_control_of_the_bugs_is_clean(plan: Plan) -> None:
    for seed in range(40):
        run(seed, plan)


def test_in_fair_weather_nothing_is_unknown() -> None:
    for seed in range(20):
        outcomes = run(seed, Plan(calm=True)).outcomes
        assert not [name for name in outcomes if name.startswith("unknown")]


def test_a_run_repeats_itself() -> None:
    one, other = run(7), run(7)
    assert (one.cluster.commits, one.outcomes) == (other.cluster.commits, other.outcomes)
