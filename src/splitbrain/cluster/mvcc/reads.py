"""Get, batch get, scans and the scan for locks: what a reader sees as of a timestamp.

A reader at ``version`` gets, for each key, the newest PUT or DELETE committed at or before it.  A
lock that began before ``version`` is in the way: its transaction may have its commit timestamp, below
``version``, already.  Reading past it would give a snapshot that later changes.

Before anything is looked at, ``max_ts`` is raised to ``version``; see :mod:`.memory`.
"""

from __future__ import annotations

from itertools import islice
from typing import TypeAlias

from splitbrain.cluster.messages.context import Context, Isolation, ReplicaRead
from splitbrain.cluster.messages.key_errors import Locked, LockKind
from splitbrain.cluster.messages.txn import (
    BatchGet,
    BatchGetReply,
    Get,
    GetReply,
    Pair,
    Scan,
    ScanLock,
    ScanLockReply,
    ScanReply,
)
from splitbrain.cluster.mvcc.codec import TS_MAX, decode_key, encode_bound, encode_key
from splitbrain.cluster.mvcc.engine import Reader
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.records import Lock, WriteRecord, lock_info
from splitbrain.cluster.mvcc.view import View

__all__ = ["ReadReply", "ReadRequest", "Reads"]

ReadRequest: TypeAlias = Get | BatchGet | Scan | ScanLock
ReadReply: TypeAlias = GetReply | BatchGetReply | ScanReply | ScanLockReply
TRANSPARENT = frozenset({LockKind.LOCK, LockKind.PESSIMISTIC})
"""Locks that will change nothing for readers, or not before they are prewritten."""


class Reads:
    """The rules of reading."""

    def read(
        self, request: ReadRequest, reader: Reader, memory: Memory | None = None
    ) -> ReadReply:
        """Serve a read from ``reader``, which must be as fresh as the request is owed.

        ``memory`` is the leader's own.  A follower has None: its leader has observed the request
        before it confirmed the index that ``reader`` has reached.
        """
        if memory is not None and request.context.replica_read is not ReplicaRead.STALE:
            error = self.observe(request, memory)
            if error is not None:
                return self.refused_read(request, error)
        return self._read(request, View(reader))

    def observe(self, request: ReadRequest, memory: Memory) -> Locked | None:
        """What the leader owes a read before its state is looked at, here or on a follower.

        Raises ``max_ts`` and looks at the locks in memory.  A leader calls it when it serves the
        read, or when it answers a follower's ReadIndex for the read; not for stale reads.

        Returns:
            None, or the lock that refuses the whole request (see ``refused_read``).
        """
        if isinstance(request, ScanLock):
            memory.raise_max_ts(request.max_version)
            for key, lock in memory.locks(*self._bounds(request)):
                if lock.start_ts <= request.max_version:
                    return Locked(lock_info(key, lock))
            return None
        memory.raise_max_ts(request.version)
        if request.context.isolation is Isolation.READ_COMMITTED or not len(memory):
            return None
        if isinstance(request, Scan):
            found = list(memory.locks(*self._bounds(request)))
        else:
            keys = (request.key,) if isinstance(request, Get) else request.keys
            asked = [(key, memory.get(key)) for key in map(encode_key, keys)]
            found = [(key, lock) for key, lock in asked if lock is not None]
        for key, lock in found:
            if self._blocks(lock, key, request.version, request.context):
                return Locked(lock_info(key, lock))
        return None

    def refused_read(self, request: ReadRequest, error: Locked) -> ReadReply:
        """The answer to a read that ``observe`` refuses."""
        if isinstance(request, Get):
            return GetReply(error=error)
        if isinstance(request, ScanLock):
            return ScanLockReply(error=error)
        pairs = (Pair(b"", error=error),)  # older clients look only there
        if isinstance(request, BatchGet):
            return BatchGetReply(pairs, error)
        return ScanReply(pairs, error)

    def _bounds(self, request: Scan | ScanLock) -> tuple[bytes, bytes]:
        if isinstance(request, Scan) and request.reverse:
            return encode_bound(request.end), encode_bound(request.start)
        return encode_bound(request.start), encode_bound(request.end)

    def _read(self, request: ReadRequest, view: View) -> ReadReply:
        if isinstance(request, Get):
            return self._get(request, view)
        if isinstance(request, BatchGet):
            pairs = (
                self._pair(view, encode_key(key), request, request.need_commit_ts)
                for key in request.keys
            )
            return BatchGetReply(tuple(pair for pair in pairs if pair is not None))
        if isinstance(request, Scan):
            return self._scan(request, view)
        return self._scan_lock(request, view)

    def _get(self, request: Get, view: View) -> GetReply:
        pair = self._pair(view, encode_key(request.key), request, request.need_commit_ts)
        if pair is None:
            return GetReply()
        if pair.error is not None:
            return GetReply(error=pair.error)
        return GetReply(pair.value, pair.commit_ts)

    def _scan(self, request: Scan, view: View) -> ScanReply:
        locked = request.context.isolation is Isolation.SNAPSHOT
        keys = view.user_keys(*self._bounds(request), reverse=request.reverse, locked=locked)
        found = (self._pair(view, key, request, False) for key in keys)
        pairs = (pair for pair in found if pair is not None)
        return ScanReply(tuple(islice(pairs, request.limit)))

    def _scan_lock(self, request: ScanLock, view: View) -> ScanLockReply:
        found = (
            lock_info(key, lock)
            for key, lock in view.locks(*self._bounds(request))
            if lock.start_ts <= request.max_version
        )
        return ScanLockReply(tuple(islice(found, request.limit or None)))

    def _pair(
        self, view: View, key: bytes, request: Get | BatchGet | Scan, need_commit_ts: bool
    ) -> Pair | None:
        """What the request gets of one key; None: it is absent."""
        context = request.context
        if context.isolation is Isolation.SNAPSHOT:
            lock = view.lock(key)
            if lock is not None and self._blocks(lock, key, request.version, context):
                if need_commit_ts or lock.start_ts not in context.committed_locks:
                    return Pair(decode_key(key), error=Locked(lock_info(key, lock)))
                if lock.kind is LockKind.DELETE:
                    return None
                return Pair(decode_key(key), self._value(view, key, lock, request))
        version = view.data(key, request.version)
        if version is None:
            return None
        value = self._value(view, key, version.record, request)
        return Pair(decode_key(key), value, commit_ts=version.commit_ts)

    def _value(
        self, view: View, key: bytes, written: WriteRecord | Lock, request: ReadRequest
    ) -> bytes:
        if isinstance(request, Scan) and request.key_only:
            return b""
        return view.value(key, written)

    def _blocks(self, lock: Lock, key: bytes, version: int, context: Context) -> bool:
        """Whether ``lock`` may be of a transaction that this reader should see."""
        if lock.start_ts > version or lock.kind in TRANSPARENT:
            return False
        if lock.min_commit_ts > version or lock.start_ts in context.resolved_locks:
            return False
        # The newest, at the primary: whether it is committed is decided here and now, and it is
        # not.  Not so where the commit timestamp is chosen otherwise than by a commit request.
        undecided = lock.use_async_commit or lock.one_pc
        return version != TS_MAX or undecided or decode_key(key) != lock.primary
