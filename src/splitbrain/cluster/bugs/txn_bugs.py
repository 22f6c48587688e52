"""Seeded bugs of the transactional client: of its commits, its resolver, or of the client itself.

A class names itself like a Raft bug does (``id``, ``name``, ``anomalies``, ``crash``) and counts in
the client's ``probes[name]`` how often its changed path did what the correct one would not have done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import ClassVar, NoReturn

from splitbrain.cluster.client.backoff import OutOfPatience, Patience
from splitbrain.cluster.client.committer import Committer
from splitbrain.cluster.client.options import TxnOptions
from splitbrain.cluster.client.resolver import Resolver, Status
from splitbrain.cluster.client.standing import Dropped
from splitbrain.cluster.client.txn import TxnClient
from splitbrain.cluster.messages.key_errors import LockInfo
from splitbrain.errors import Definite, Undetermined

__all__ = [
    "COMMITTER_BUGS",
    "RESOLVER_BUGS",
    "TXN_CLIENT_BUGS",
    "AckBeforePrimary",
    "CommitTimeoutIsFail",
    "CommitTsEarly",
    "CommitterBug",
    "EarlyRollback",
    "NotFoundIsRollback",
    "ResolverBug",
    "SecondaryFirst",
    "TxnClientBug",
    "UndeterminedRedo",
]


class CommitterBug(Committer):
    """What bugs of a commit have; see :class:`~splitbrain.cluster.bugs.raft_bugs.RaftBug`."""

    id: ClassVar[str] = ""
    name: ClassVar[str] = ""
    anomalies: ClassVar[tuple[str, ...]] = ()
    crash: ClassVar[frozenset[str]] = frozenset()

    def _count(self) -> None:
        self.probes[self.name] = self.probes.get(self.name, 0) + 1


class ResolverBug(Resolver):
    """What bugs of the resolver have."""

    id: ClassVar[str] = ""
    name: ClassVar[str] = ""
    anomalies: ClassVar[tuple[str, ...]] = ()
    crash: ClassVar[frozenset[str]] = frozenset()

    def _count(self) -> None:
        self.probes[self.name] = self.probes.get(self.name, 0) + 1


class TxnClientBug(TxnClient):
    """What bugs of the client as a whole have."""

    id: ClassVar[str] = ""
    name: ClassVar[str] = ""
    anomalies: ClassVar[tuple[str, ...]] = ()
    crash: ClassVar[frozenset[str]] = frozenset()

    def _count(self) -> None:
        self.probes[self.name] = self.probes.get(self.name, 0) + 1


class AckBeforePrimary(CommitterBug):
    """P09: the user is told "committed" once all keys are locked.

    Only the primary's commit decides.  Until it is there a later reader sees the old values; and if
    it never comes (the client is cut off, the locks' time runs out), what was told is lost.

    Needs commits in two phases, and no fault.

    Probe: commits told before they were sent.
    """

    id = "P09"
    name = "ack-before-primary"
    anomalies = ("stale-snapshot", "lost-write", "not-snapshot-isolation")

    async def _second_phase(self, patience: Patience) -> None:
        self._count()
        self.standing.commit_ts = commit_ts = await self._take_commit_ts(patience)
        self.access.background.start(self._later(commit_ts, patience))

    async def _later(self, commit_ts: int, patience: Patience) -> None:
        with contextlib.suppress(Dropped):
            left = await self._commit_primary(commit_ts, patience)
            await self._commit_secondaries(left)


class SecondaryFirst(CommitterBug):
    """P11: the other keys are committed before the primary.

    Whoever meets the primary's lock in between may push its commit above the own timestamp, or, when
    its time to live is over, roll it back: the transaction is committed at two timestamps, or by half.

    Needs commits in two phases with readers beside them, and no fault.

    Probe: commits begun at the wrong end.
    """

    id = "P11"
    name = "secondary-first"
    anomalies = ("half-transaction", "fractured-read", "not-snapshot-isolation")

    async def _second_phase(self, patience: Patience) -> None:
        self._count()
        self.standing.commit_ts = commit_ts = await self._take_commit_ts(patience)
        with contextlib.suppress(Definite, OutOfPatience):
            await self._commit_secondaries(list(self.keys[1:]))
        await self._commit_primary(commit_ts, patience)


class CommitTsEarly(CommitterBug):
    """P14: the commit timestamp is taken before the keys are locked.

    A reader that begins between the two finds no lock and reads the old value, at a timestamp above
    the commit's: its snapshot changes behind it, and what it writes is a lost update.

    Needs commits in two phases with readers beside them, and no fault.

    Probe: commits at an early timestamp.
    """

    id = "P14"
    name = "commit-ts-early"
    anomalies = ("stale-snapshot", "lost-update", "not-snapshot-isolation")

    async def _prewrite_phase(self, patience: Patience) -> bool:
        self._early_ts = await self.access.pd.timestamp(patience)
        return await super()._prewrite_phase(patience)

    async def _take_commit_ts(self, patience: Patience) -> int:
        self._count()
        return self._early_ts


class CommitTimeoutIsFail(CommitterBug):
    """C01: a commit whose answer never came is reported as failed.

    The primary's commit, or in one phase the prewrite, was sent; it, or its answer, is late or lost.
    The transaction may be committed, or may be yet.

    Needs answers that do not come: a partition, a pause or a kill with commits in flight.

    Probe: commits of unknown fate that were called failed.
    """

    id = "C01"
    name = "commit-timeout-is-fail"
    anomalies = ("failed-write-visible", "ghost-commit", "not-snapshot-isolation")

    def _unknown(self, code: str) -> NoReturn:
        self._count()
        raise Definite(code, "taken for a failure")


class EarlyRollback(ResolverBug):
    """P06: a lock in the way is rolled back, and its primary is never asked.

    The transaction lives, and is perhaps committed already: half of it goes.

    Needs two transactions at one key, and no fault.

    Probe: transactions that were called rolled back unasked.
    """

    id = "P06"
    name = "early-rollback"
    anomalies = ("half-transaction", "lost-write", "not-snapshot-isolation")

    async def _ask_primary(
        self, lock: LockInfo, caller_ts: int, now_ts: int, patience: Patience
    ) -> Status:
        self._count()
        return Status(final=True)


class NotFoundIsRollback(ResolverBug):
    """P31: a transaction whose primary is not locked yet is taken for rolled back.

    Its primary's prewrite is on its way.  The other key's lock is removed, the primary arrives and
    commits: half a transaction.

    Needs optimistic transactions over several regions or stores, whose keys are locked at different
    times.

    Probe: primaries not found that were not waited for.
    """

    id = "P31"
    name = "notfound-is-rollback"
    anomalies = ("half-transaction", "lost-write", "not-snapshot-isolation")

    def _not_found(self, lock: LockInfo, expired: bool, now_ts: int) -> Status | None:
        self._count()
        return Status(final=True)


class UndeterminedRedo(TxnClientBug):
    """C02: a transaction that is perhaps committed is run once more, as a new one.

    If the first was committed, what it does is done twice.  The total of a bank never shows it; an
    append does.

    Needs commits whose answer never comes: a partition, a pause or a kill.

    Probe: transactions of unknown fate that were run again.
    """

    id = "C02"
    name = "undetermined-redo"
    anomalies = ("write-applied-twice", "foreign-commit", "not-snapshot-isolation")

    def _may_redo(self, error: Exception, options: TxnOptions) -> bool:
        if isinstance(error, Undetermined) and error.code != "client-dropped":
            self._count()
            return True
        return super()._may_redo(error, options)


COMMITTER_BUGS: Mapping[str, type[CommitterBug]] = {
    bug.name: bug
    for bug in (AckBeforePrimary, SecondaryFirst, CommitTsEarly, CommitTimeoutIsFail)
}
"""The commit to make instead of the correct one, by bug name."""
RESOLVER_BUGS: Mapping[str, type[ResolverBug]] = {
    bug.name: bug for bug in (EarlyRollback, NotFoundIsRollback)
}
"""Likewise the resolver."""
TXN_CLIENT_BUGS: Mapping[str, type[TxnClientBug]] = {
    bug.name: bug for bug in (UndeterminedRedo,)
}
"""Likewise the client as a whole."""
