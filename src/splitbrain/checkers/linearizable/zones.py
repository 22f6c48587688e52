"""Zones: registers whose writes have distinct values, in O(n log n).

With distinct values every read names its write.  A write and its reads, a *cluster*, must stand
together in any order, so the question is whether whole clusters can be ordered.  Of a cluster only
two moments matter: ``finish``, the earliest end of any of its calls, and ``start``, the latest
begin.  Cluster B cannot come after A if some call of B had ended before some call of A began, that
is if ``B.finish < A.start``; A and B conflict if both directions are barred.  Where finish < start
the cluster holds the register for the whole *forward zone* [finish, start]; else it has a *backward
zone* [start, finish] and needs one moment in it.  Then (Gibbons & Korach, *Testing shared
memories*, SIAM J. Comput. 26(4), 1997, section 4) the history is linearizable if and only if

1. each read's value was written (or is the initial one), and no read ends before its write begins;
2. no two forward zones overlap;
3. no backward zone lies inside a forward zone.

Ordering clusters by the lower bound of their zones is then a witness.

The initial value counts as written before everything.  A crashed write that nobody read is left
out: it need not have happened.  Equal positions count as overlap: comparisons are strict.

    p0  |-write 1-|              |-read 1-|      cluster 1: finish 1, start 4: forward [1, 4]
    p1             |-write 2-|                   cluster 2: [2, 3] backward, inside: not linearizable
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from splitbrain.checkers.linearizable.model import Model
from splitbrain.checkers.linearizable.prepare import OPEN, Call, Outcome
from splitbrain.checkers.verdict import INVALID, VALID

__all__ = ["check_zones", "zones_apply"]

BEFORE_ALL = -1


class Cluster(msgspec.Struct):
    """A write (None for the initial value) and its reads."""

    write: Call | None
    reads: list[Call]
    finish: int = OPEN
    start: int = BEFORE_ALL
    first_ended: Call | None = None
    last_begun: Call | None = None

    @property
    def low(self) -> int:
        """Lower bound of the zone."""
        return min(self.finish, self.start)

    @property
    def forward(self) -> bool:
        """Whether the cluster holds the register throughout its zone."""
        return self.finish < self.start

    def close(self) -> None:
        """Find the two moments, once all calls are in."""
        if self.write is None:
            self.finish = BEFORE_ALL
        members = self.reads if self.write is None else [self.write, *self.reads]
        for call in members:
            if call.end < self.finish:
                self.finish, self.first_ended = call.end, call
            if call.begin > self.start:
                self.start, self.last_begun = call.begin, call

    def witnesses(self) -> Iterable[int]:
        """Numbers of the calls that give the zone its bounds, and of the write."""
        found = (self.write, self.first_ended, self.last_begun)
        return {call.number for call in found if call is not None}


def zones_apply(calls: Sequence[Call], model: Model) -> bool:
    """Whether each value that is read has one possible origin, and nothing else happens."""
    if model.family != "register":
        return False
    written: dict[Any, int] = {model.init(): 1}
    for call in calls:
        if call.action[0] == "write":
            written[call.action[1]] = written.get(call.action[1], 0) + 1
        elif call.action[0] != "read":
            return False
    return all(
        written.get(call.action[1], 0) <= 1 for call in calls if call.action[0] == "read"
    )


def check_zones(calls: Sequence[Call], model: Model) -> Outcome:
    """Decide a history to which ``zones_apply``."""
    clusters, orphan = _clusters(calls, model)
    if orphan is not None:
        return _illegal((orphan.number,), len(calls))
    early = _read_before_write(clusters)
    if early is not None:
        return _illegal(early, len(calls))
    conflict = _conflict(clusters)
    if conflict is not None:
        first, second = conflict
        blamed = sorted({*first.witnesses(), *second.witnesses()})
        return _illegal(tuple(blamed), len(calls))
    clusters.sort(key=lambda cluster: (cluster.low, cluster.forward))
    order: list[int] = []
    for cluster in clusters:
        if cluster.write is not None:
            order.append(cluster.write.number)
        order.extend(read.number for read in sorted(cluster.reads, key=lambda c: c.begin))
    return Outcome(
        verdict=VALID,
        engine="zones",
        order=tuple(order),
        needed=tuple(sorted(number for number in order if calls[number].crashed)),
        explored=len(calls),
    )


def _illegal(blamed: tuple[int, ...], explored: int) -> Outcome:
    return Outcome(verdict=INVALID, engine="zones", blamed=blamed, explored=explored)


def _clusters(calls: Sequence[Call], model: Model) -> tuple[list[Cluster], Call | None]:
    """All clusters, or the first read of a value that nobody wrote."""
    initial = Cluster(write=None, reads=[])
    read_values = {call.action[1] for call in calls if call.action[0] == "read"}
    by_value: dict[Any, Cluster] = {model.init(): initial}
    unread: list[Cluster] = []
    for call in calls:
        kind, value = call.action
        if kind != "write":
            continue
        if value in read_values:
            by_value[value] = Cluster(write=call, reads=[])
        elif not call.crashed:
            unread.append(Cluster(write=call, reads=[]))
    for call in calls:
        kind, value = call.action
        if kind == "read":
            cluster = by_value.get(value)
            if cluster is None:
                return [], call
            cluster.reads.append(call)
    clusters = [c for c in by_value.values() if c.write is not None or c.reads] + unread
    for cluster in clusters:
        cluster.close()
    return clusters, None


def _read_before_write(clusters: Iterable[Cluster]) -> tuple[int, ...] | None:
    found = [
        (read.end, cluster.write.number, read.number)
        for cluster in clusters
        if cluster.write is not None
        for read in cluster.reads
        if read.end < cluster.write.begin
    ]
    return tuple(sorted(min(found)[1:])) if found else None


def _conflict(clusters: Sequence[Cluster]) -> tuple[Cluster, Cluster] | None:
    """The two conflicting clusters whose conflict is complete soonest."""
    forward = sorted((c for c in clusters if c.forward), key=lambda c: c.finish)
    found: list[tuple[int, int, Cluster, Cluster]] = []
    for first, second in pairwise(forward):
        if second.finish < first.start:
            found.append((_complete(first, second), len(found), first, second))
    if not found:
        finishes = [c.finish for c in forward]
        for inner in clusters:
            if inner.forward:
                continue
            place = bisect_left(finishes, inner.start) - 1
            if place >= 0 and inner.finish < forward[place].start:
                outer = forward[place]
                found.append((_complete(outer, inner), len(found), outer, inner))
    return min(found)[2:] if found else None


def _complete(first: Cluster, second: Cluster) -> int:
    """When the last call that takes part in the conflict had ended."""
    ends = [
        call.end
        for cluster in (first, second)
        for call in (cluster.first_ended, cluster.last_begun)
        if call is not None and call.end != OPEN
    ]
    return max(ends)
