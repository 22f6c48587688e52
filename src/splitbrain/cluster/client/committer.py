"""The second half of a commit, and its end: what the user is told, and what is undone.

    end                                               told            rolled back by us
    prewrite refused, or out of time                  Definite        yes
      of an async or one-phase commit, some request
      of which was never answered                     Undetermined    no: it may be committed
      the same, but a key has a write conflict        Definite        no
    no commit timestamp, or too old                   Definite        yes
    primary's commit: TxnLockNotFound ...             Definite        others have done it
    primary's commit: only true refusals, no time     Definite        no, as it has been sent
    primary's commit: some attempt without answer
      and none after it answered                      Undetermined    no
      no answer, and in one phase it was tried before
      without answer                                  Undetermined    no
    primary committed, or all prewritten (async)      ok              no; the rest is background work

A prewrite in two phases that got no answer is a true failure: the commit is never sent.  A rollback is
sent only while no primary commit (async, one phase: no unanswered prewrite) has gone out.

Seams for seeded bugs: ``_second_phase``, ``_take_commit_ts``, ``_prewrite_phase``, ``_unknown``.
"""

from __future__ import annotations

import itertools
from typing import NoReturn

from splitbrain.cluster.client.backoff import OutOfPatience, Patience
from splitbrain.cluster.client.prewriter import Prewriter
from splitbrain.cluster.client.regions import Place
from splitbrain.cluster.client.sender import Doubt, Moved
from splitbrain.cluster.client.standing import Dropped, refusal
from splitbrain.cluster.messages.key_errors import CommitTsExpired
from splitbrain.cluster.messages.txn import (
    BatchRollback,
    Commit,
    CommitReply,
    PessimisticRollback,
)
from splitbrain.errors import Definite, Undetermined

__all__ = ["Committer"]

_COMMIT_KEYS_MAX = 256


class Committer(Prewriter):
    """That of one transaction; ``commit`` or ``roll_back`` is called once."""

    async def commit(self, patience: Patience) -> None:
        """Commit all mutations.

        Raises:
            Definite: certainly not committed.
            Undetermined: perhaps.
        """
        standing = self.standing
        try:
            await self._commit(patience)
        except Dropped:
            raise Undetermined("client-dropped") from None
        finally:
            standing.over = True

    async def _commit(self, patience: Patience) -> None:
        standing = self.standing
        try:
            standing.check_age()
            await standing.step("before-prewrite")
            committed = await self._prewrite_phase(patience)
            await standing.step("after-prewrite")
        except (Definite, OutOfPatience) as error:
            self._fail_prewrite(error)
        if committed:
            self.access.background.start(self._finish_committed())
            return
        await self._second_phase(patience)

    def _fail_prewrite(self, error: Definite | OutOfPatience) -> NoReturn:
        """Nothing is committed, unless prewriting alone may have done it."""
        self._leave(error.code)
        _fail(error)

    def _leave(self, code: str) -> None:
        """Before any commit was sent: undo what is there, if it certainly is not committed."""
        if self.may_be_committed():
            self._unknown(next((one.code for one in self.doubts if one.code), code))
        if self.answered():
            self.access.background.start(self.roll_back())

    # -- second phase ------------------------------------------------------------------------

    async def _second_phase(self, patience: Patience) -> None:
        """Commit the primary, and with it the transaction; then the rest."""
        commit_ts = await self._take_commit_ts(patience)
        left = await self._commit_primary(commit_ts, patience)
        if self.standing.path == "plain":
            try:
                await self._commit_secondaries(left, self.access.patience())
            except (Definite, OutOfPatience, Dropped):
                return  # whoever meets the locks asks the primary
        elif left:
            self.access.background.start(self._commit_secondaries(left))

    async def _take_commit_ts(self, patience: Patience) -> int:
        """A timestamp, taken now that all keys are prewritten."""
        try:
            return await self.access.pd.timestamp(patience)
        except (Definite, OutOfPatience) as error:
            self._leave(error.code)
            _fail(error)

    async def _commit_primary(self, commit_ts: int, patience: Patience) -> list[bytes]:
        """Commit the primary and its neighbours; the keys that are left."""
        standing, doubt = self.standing, Doubt()
        await standing.step("before-commit-primary")
        try:
            standing.check_age()
            while True:
                standing.sent_commit = True
                reply, keys = await self._send_commit(commit_ts, patience, doubt)
                if reply.error is None:
                    break
                if not isinstance(reply.error, CommitTsExpired):
                    self.hopeless = True
                    raise refusal(reply.error)
                commit_ts = await self.access.pd.timestamp(patience)
        except (Definite, OutOfPatience) as error:
            self._fail_commit(error, doubt)
        standing.commit_ts = reply.commit_ts or commit_ts
        await standing.step("after-commit-primary")
        return [key for key in self.keys if key not in keys]

    async def _send_commit(
        self, commit_ts: int, patience: Patience, doubt: Doubt
    ) -> tuple[CommitReply, set[bytes]]:
        """One answered request for the primary, and the keys that it was for."""
        standing, access = self.standing, self.access
        for moves in itertools.count(1):
            place = await access.locate(standing.primary, patience)
            keys = [standing.primary]
            if standing.path != "plain":
                keys += self._neighbours(place)[: _COMMIT_KEYS_MAX - 1]
            request = Commit(tuple(keys), standing.start_ts, commit_ts)
            try:
                return await access.sender.send(request, place, patience, doubt=doubt), set(
                    keys
                )
            except Moved:
                await access.after_move(moves, patience)
        raise AssertionError("unreachable")

    def _neighbours(self, place: Place) -> list[bytes]:
        """Other keys of the primary's region."""
        covers, stored = place.region.covers, self.access.stored
        primary = self.standing.primary
        return [key for key in self.keys if key != primary and covers(stored(key))]

    def _fail_commit(self, error: Definite | OutOfPatience, doubt: Doubt) -> NoReturn:
        """The primary is not committed, or nobody knows."""
        if doubt.code:
            self._unknown(doubt.code)
        if not doubt.sent:
            self.standing.sent_commit = False
            self._leave(error.code)
        elif self.may_be_committed():  # in one phase, before it fell back to two
            self._unknown(error.code)
        _fail(error)

    def _unknown(self, code: str) -> NoReturn:
        """The transaction may be committed, now or later."""
        raise Undetermined(code)

    # -- the rest ----------------------------------------------------------------------------

    async def _commit_secondaries(
        self, keys: list[bytes], patience: Patience | None = None
    ) -> None:
        """Turn the other locks into records; the transaction is committed already."""
        standing = self.standing
        try:
            await standing.step("before-commit-secondaries")
            await self._commit_keys(keys, patience or self.access.patience())
            await standing.step("after-commit-secondaries")
        except Dropped:
            return

    async def _finish_committed(self) -> None:
        """Records for the locks of an async commit (a commit in one phase left none)."""
        if self.standing.path == "async":
            await self._commit_secondaries(list(self.keys))

    async def _commit_keys(self, keys: list[bytes], patience: Patience) -> None:
        standing = self.standing

        async def commit(place: Place, mine: list[bytes], own: Patience) -> None:
            for at in range(0, len(mine), _COMMIT_KEYS_MAX):
                part = tuple(mine[at : at + _COMMIT_KEYS_MAX])
                request = Commit(part, standing.start_ts, standing.commit_ts)
                await self.access.sender.send(request, place, own)

        if standing.path == "plain":
            for key in keys:
                await self.access.by_region([key], patience, commit)
        elif keys:
            await self.access.by_region(keys, patience, commit)

    # -- rollback ----------------------------------------------------------------------------

    async def roll_back(self) -> None:
        """Give the transaction up: remove its locks and let no late prewrite in."""
        standing, access = self.standing, self.access
        assert not standing.sent_commit, "a rollback after the commit was sent"
        standing.over = True
        if standing.prewriting:
            keys = list(dict.fromkeys([*self.keys, *standing.for_update_ts]))
        else:
            keys = list(standing.for_update_ts)
        newest = max(standing.for_update_ts.values(), default=0)

        async def undo(place: Place, mine: list[bytes], own: Patience) -> None:
            if standing.prewriting:
                await access.sender.send(
                    BatchRollback(tuple(mine), standing.start_ts), place, own
                )
            else:
                drop = PessimisticRollback(tuple(mine), standing.start_ts, newest)
                await access.sender.send(drop, place, own)

        if keys:
            await access.by_region(keys, access.patience(), undo)


def _fail(error: Definite | OutOfPatience) -> NoReturn:
    if isinstance(error, Definite):
        raise error
    raise Definite(error.code, "out of time") from None
