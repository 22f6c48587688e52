"""How a commit ends, case by case: what is told, and whether a rollback is sent.

Each case is an answer to the prewrite or to the primary's commit, once or for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from splitbrain.cluster.client.options import TxnOptions
from splitbrain.cluster.client.standing import Dropped, Standing
from splitbrain.cluster.messages import region_errors as e
from splitbrain.cluster.messages import txn as t
from splitbrain.cluster.messages.key_errors import (
    Abort,
    AlreadyExist,
    CommitTsExpired,
    ConflictReason,
    Deadlock,
    Locked,
    LockInfo,
    TxnLockNotFound,
    WriteConflict,
)
from splitbrain.cluster.messages.region import Epoch, Peer, Region
from splitbrain.cluster.mvcc.codec import encode_key
from splitbrain.errors import Definite, Undetermined

from .scripted import PEERS, Scripted, client

FAIR: dict[type, Any] = {
    t.Get: t.GetReply(),
    t.Prewrite: t.PrewriteReply(min_commit_ts=(1_000 << 18) + 500),
    t.Commit: t.CommitReply(),
    t.BatchRollback: t.BatchRollbackReply(),
    t.PessimisticRollback: t.PessimisticRollbackReply(),
    t.PessimisticLock: t.PessimisticLockReply((None,)),
    t.TxnHeartBeat: t.TxnHeartBeatReply(),
    t.CheckTxnStatus: t.CheckTxnStatusReply(ttl_ms=100_000),
}
CONFLICT = WriteConflict(b"a", 1, 2, 3)
SELF = WriteConflict(b"a", 1, 1, 1, reason=ConflictReason.SELF_ROLLED_BACK)
LOCKED = Locked(LockInfo(b"a", b"a", 5, ttl_ms=100_000))
ONE_PHASE = t.PrewriteReply(one_pc_commit_ts=(1_000 << 18) + 500)


class Stores:
    """Fair answers, but for one kind of request; of those the first ones are special."""

    def __init__(self, kind: type, *answers: Any, for_ever: bool = True) -> None:
        self.kind = kind
        self.answers = list(answers)
        self.for_ever = for_ever

    def __call__(self, node: str, request: Any) -> Any:
        if type(request) is not self.kind or not self.answers:
            return FAIR[type(request)]
        last = len(self.answers) == 1 and self.for_ever
        return self.answers[0] if last else self.answers.pop(0)


def commit(
    script: Any, path: str = "parallel", keys: tuple[bytes, ...] = (b"a", b"x"), **options: Any
) -> tuple[str, str, Scripted]:
    """(how it ended, code, what was sent) of a transaction that puts ``keys`` of two regions."""
    network = Scripted(script)

    async def main() -> tuple[str, str]:
        one = client(network)
        txn = await one.begin(TxnOptions(commit_path=path, heartbeat_s=1e6, **options))
        try:
            for key in keys:
                await txn.put(key, b"v")
            facts = await txn.commit()
            end = "ok", str(facts.commit_ts > facts.start_ts)
        except Definite as error:
            await txn.rollback()
            end = "definite", error.code
        except Undetermined as error:
            end = "undetermined", error.code
        await asyncio.sleep(0)
        for task in list(one.access.background._tasks):
            if task.get_coro().__name__ != "_heartbeats":
                await asyncio.gather(task, return_exceptions=True)
        await one.access.close()
        return end

    return (*asyncio.run(main()), network)


def rolled_back(network: Scripted) -> bool:
    return "BatchRollback" in network.kinds()


@pytest.mark.parametrize("path", ["plain", "parallel", "async"])
def test_a_commit_that_meets_no_trouble(path: str) -> None:
    end, told, network = commit(Stores(t.Get), path)
    assert (end, told) == ("ok", "True")
    assert network.kinds().count("Prewrite") == network.kinds().count("Commit") == 2
    assert not rolled_back(network)


def test_a_commit_in_one_phase() -> None:
    end, told, network = commit(Stores(t.Prewrite, ONE_PHASE), "one-phase", (b"a", b"b"))
    assert (end, told, network.kinds()) == ("ok", "True", ["Prewrite"])
    assert network.sent[0][1].try_one_pc
    end, _, network = commit(Stores(t.Get), "one-phase")
    assert end == "ok"
    assert not any(request.try_one_pc for _, request in network.sent[:2])
    assert network.kinds()[:3] == ["Prewrite", "Prewrite", "Commit"]


@pytest.mark.parametrize("path", ["async", "one-phase"])
def test_a_store_that_falls_back_makes_it_two_phases(path: str) -> None:
    end, _, network = commit(Stores(t.Prewrite, t.PrewriteReply()), path, (b"a", b"b"))
    assert (end, network.kinds()) == ("ok", ["Prewrite", "Commit"])


PREWRITE_ENDS = [
    # the answer for ever, the code, told (plain, parallel), told (async, one-phase)
    (t.PrewriteReply((CONFLICT,)), "write-conflict", "definite", "definite"),
    (t.PrewriteReply((SELF,)), "aborted", "definite", "definite"),
    (t.PrewriteReply((AlreadyExist(b"a"),)), "already-exists", "definite", "definite"),
    (t.PrewriteReply((Abort("no lock"),)), "aborted", "definite", "definite"),
    (t.PrewriteReply((Deadlock(1, b"a", 1),)), "deadlock", "definite", "definite"),
    (t.PrewriteReply((LOCKED,)), "lock-timeout", "definite", "definite"),
    (t.PrewriteReply(region_error=e.NotLeader()), "no-leader", "definite", "definite"),
    (t.PrewriteReply(region_error=e.EntryTooLarge()), "too-large", "definite", "definite"),
    (ConnectionError(), "refused", "definite", "definite"),
    (TimeoutError(), "timeout", "definite", "undetermined"),
    (EOFError(), "connection-lost", "definite", "undetermined"),
    (
        t.PrewriteReply(region_error=e.UndeterminedResult()),
        "undetermined-result",
        "definite",
        "undetermined",
    ),
]


@pytest.mark.parametrize(("answer", "code", "two_phases", "one"), PREWRITE_ENDS)
@pytest.mark.parametrize("path", ["plain", "parallel", "async", "one-phase"])
def test_prewrites_that_fail(
    path: str, answer: Any, code: str, two_phases: str, one: str
) -> None:
    end, told, network = commit(Stores(t.Prewrite, answer), path, (b"a", b"b"))
    assert end == (one if path in ("async", "one-phase") else two_phases)
    # Stores that did not answer are left alone after a while, and then there is nobody to ask.
    silent = isinstance(answer, ConnectionError | EOFError)
    assert told in ((code, "no-leader") if silent else (code,))
    assert "Commit" not in network.kinds()
    assert rolled_back(network) is (end == "definite")


@pytest.mark.parametrize("path", ["async", "one-phase"])
def test_doubt_about_a_prewrite_stays_unless_no_repetition_can_change_the_answer(
    path: str,
) -> None:
    aborted = t.PrewriteReply((Abort("?"),))
    end, _, network = commit(Stores(t.Prewrite, TimeoutError(), aborted), path, (b"a",))
    assert end == "undetermined"
    assert not rolled_back(network)
    conflict = t.PrewriteReply((CONFLICT,))
    end, _, network = commit(Stores(t.Prewrite, TimeoutError(), conflict), path, (b"a",))
    assert end == "definite"
    assert not rolled_back(network)
    good = ONE_PHASE if path == "one-phase" else FAIR[t.Prewrite]
    assert commit(Stores(t.Prewrite, TimeoutError(), good), path, (b"a",))[0] == "ok"


COMMIT_ENDS = [
    (t.CommitReply(error=TxnLockNotFound(b"a")), "definite", "aborted"),
    (t.CommitReply(error=Abort("?")), "definite", "aborted"),
    (t.CommitReply(region_error=e.NotLeader()), "definite", "no-leader"),
    (t.CommitReply(region_error=e.StaleCommand()), "definite", "stale-command"),
    (t.CommitReply(region_error=e.ServerIsBusy()), "definite", "busy"),
    (TimeoutError(), "undetermined", "timeout"),
    (EOFError(), "undetermined", "connection-lost"),
    (t.CommitReply(region_error=e.UndeterminedResult()), "undetermined", "undetermined-result"),
    (t.CommitReply(region_error=e.OtherError()), "undetermined", "other-error"),
]


@pytest.mark.parametrize(("answer", "end", "code"), COMMIT_ENDS)
@pytest.mark.parametrize("path", ["plain", "parallel"])
def test_commits_that_fail(path: str, answer: Any, end: str, code: str) -> None:
    got, told, network = commit(Stores(t.Commit, answer), path)
    assert (got, told) == (end, code)
    assert not rolled_back(network)  # it has been sent
    keys = [key for _, r in network.sent if isinstance(r, t.Commit) for key in r.keys]
    assert set(keys) == {b"a"}


def test_a_commit_that_never_left_is_rolled_back() -> None:
    end, _, network = commit(Stores(t.Commit, ConnectionError()))
    assert end == "definite"
    assert rolled_back(network)


def test_an_answer_ends_the_doubt_about_a_commit() -> None:
    lost = t.CommitReply(error=TxnLockNotFound(b"a"))
    assert commit(Stores(t.Commit, TimeoutError(), lost))[:2] == ("definite", "aborted")
    assert commit(Stores(t.Commit, TimeoutError(), t.CommitReply()))[0] == "ok"


def test_a_refusal_does_not_end_the_doubt_about_a_commit() -> None:
    busy = t.CommitReply(region_error=e.ServerIsBusy())
    assert commit(Stores(t.Commit, TimeoutError(), busy))[:2] == ("undetermined", "timeout")


def test_a_pushed_transaction_takes_a_later_timestamp() -> None:
    expired = t.CommitReply(error=CommitTsExpired(b"a", 1, 2, 3))
    end, _, network = commit(Stores(t.Commit, expired, t.CommitReply()))
    assert end == "ok"
    stamps = [r.commit_ts for _, r in network.sent if isinstance(r, t.Commit)]
    assert stamps[0] < stamps[1] == stamps[2]


def test_what_fails_after_the_primary_fails_nothing() -> None:
    script = Stores(t.Commit, t.CommitReply(), t.CommitReply(error=Abort("?")))
    assert commit(script, "plain")[0] == "ok"
    assert commit(Stores(t.Commit, t.CommitReply(), TimeoutError()), "plain")[0] == "ok"


def test_an_old_transaction_is_rolled_back_instead_of_committed() -> None:
    network = Scripted(Stores(t.Get))

    async def main() -> None:
        one = client(network)
        late = "before-commit-primary"

        async def hook(step: str, standing: Standing) -> None:
            network.now += 40 * 10**9 if step == late else 0

        txn = await one.begin(TxnOptions(heartbeat_s=1e9), hook=hook)
        await txn.put(b"a", b"v")
        with pytest.raises(Definite, match="txn-timeout"):
            await txn.commit()
        await asyncio.sleep(0.001)
        await one.access.close()

    asyncio.run(main())
    assert network.kinds() == ["Prewrite", "BatchRollback"]


STEPS = [
    "before-prewrite",
    "after-prewrite",
    "before-commit-primary",
    "after-commit-primary",
    "before-commit-secondaries",
    "after-commit-secondaries",
]


@pytest.mark.parametrize("last", STEPS)
def test_a_client_that_dies_at_a_step_sends_nothing_more(last: str) -> None:
    network, come = Scripted(Stores(t.Get)), []

    async def hook(step: str, standing: Standing) -> None:
        come.append(step)
        if step == last:
            raise Dropped

    async def main() -> str:
        one = client(network)
        txn = await one.begin(TxnOptions(heartbeat_s=1e9), hook=hook)
        await txn.put(b"a", b"v")
        await txn.put(b"x", b"v")
        try:
            await txn.commit()
            code = "ok"
        except Undetermined as error:
            code = error.code
        await asyncio.sleep(0.001)
        await one.access.close()
        return code

    code = asyncio.run(main())
    assert come == STEPS[: STEPS.index(last) + 1]
    assert code == ("client-dropped" if STEPS.index(last) <= 3 else "ok")
    sent = {"before-prewrite": 0, "after-prewrite": 2, "before-commit-primary": 2}
    sent |= {"after-commit-primary": 3, "before-commit-secondaries": 3}
    assert len(network.sent) == sent.get(last, 4)
    assert not rolled_back(network)


def test_a_pessimistic_transaction_that_gives_up_drops_its_locks() -> None:
    script = Stores(t.PessimisticLock, t.PessimisticLockReply((None,)), t.PessimisticLockReply(
        errors=(Deadlock(1, b"x", 1),)
    ))  # fmt: skip
    end, code, network = commit(script, pessimistic=True)
    assert (end, code) == ("definite", "deadlock")
    drops = [r for _, r in network.sent if isinstance(r, t.PessimisticRollback)]
    assert {key for drop in drops for key in drop.keys} == {b"a", b"x"}


def test_a_key_written_since_is_locked_as_of_a_later_time() -> None:
    conflict = t.PessimisticLockReply(errors=(CONFLICT,))
    script = Stores(t.PessimisticLock, conflict, t.PessimisticLockReply((b"old",)))
    end, _, network = commit(script, keys=(b"a",), pessimistic=True)
    assert end == "ok"
    stamps = [r.for_update_ts for _, r in network.sent if isinstance(r, t.PessimisticLock)]
    assert stamps[0] < stamps[1]
    prewrite = next(r for _, r in network.sent if isinstance(r, t.Prewrite))
    assert prewrite.for_update_ts == stamps[1]
    assert prewrite.pessimistic_actions == (t.PessimisticAction.DO_PESSIMISTIC_CHECK,)


def test_doubt_about_one_phase_outlives_the_fall_back_to_two() -> None:
    """Its region is split after an unanswered try; then nobody serves the commit."""
    peers = tuple(Peer(30 + n, n) for n in (1, 2, 3))
    parts = (
        Region(1, b"", encode_key(b"b"), Epoch(1, 3), PEERS),
        Region(3, encode_key(b"b"), encode_key(b"m"), Epoch(1, 3), peers),
    )
    moved = t.PrewriteReply(region_error=e.EpochNotMatch(regions=parts))

    def ends(last: t.CommitReply) -> tuple[str, str, Scripted]:
        prewrites = Stores(t.Prewrite, TimeoutError(), moved, t.PrewriteReply())

        def script(node: str, request: Any) -> Any:
            return last if isinstance(request, t.Commit) else prewrites(node, request)

        return commit(script, "one-phase", (b"a", b"c"))

    end, _, network = ends(t.CommitReply(region_error=e.NotLeader()))
    assert end == "undetermined"
    assert not rolled_back(network)
    tries = [r.try_one_pc for _, r in network.sent if isinstance(r, t.Prewrite)]
    assert tries == [True, True, False, False]
    assert ends(t.CommitReply(error=TxnLockNotFound(b"a")))[:2] == ("definite", "aborted")
    assert ends(t.CommitReply())[0] == "ok"
