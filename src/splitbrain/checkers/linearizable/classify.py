"""What went wrong, in one of a few fixed words and one sentence.

===========================  ===================================================================
``phantom-read``             a value was read that nobody ever tried to write
``failed-write-visible``     a value was read whose every write had been refused for certain
``read-from-future``         a value was read before its write began
``stale-read``               a value was read that had been overwritten before the read began
``lost-write``               the same, but the acknowledged newer write is not seen later either
``write-applied-twice``      a value was read, overwritten, and read again, though written once
``not-linearizable``         none of these: no order explains all, though each pair may look fine
===========================  ===================================================================

Stale or lost?  If a read that overlaps or follows sees the newer value, the old one came from a
place that lagged: stale.  If all reads that could see nothing but the newer write see something
older, it is gone: lost.  With one read alone to go by: stale if the newer value had been seen
before, lost if nobody ever saw it.

Stale or applied twice?  A write of unknown outcome, seen, replaced, and seen again, was applied
twice, unless what replaced it is there again later: then the second sighting lagged.

A successful cas observes its old value as a read does.  The words are about the first calls that
show the matter; the verdict never depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from splitbrain.checkers.linearizable.model import NIL, Model, show
from splitbrain.checkers.linearizable.prepare import OPEN, Call
from splitbrain.history.history import History
from splitbrain.history.op import Op

__all__ = ["Finding", "classify", "when"]

OBSERVERS_MAX: Final = 50
"""A history that could not be shrunk in time is looked at from its end: each look costs O(calls)."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A kind, a sentence, and the calls it speaks of."""

    kind: str
    explanation: str
    calls: tuple[Call, ...]


def when(op: Op) -> str:
    """``12.410 s``, or the event's index where the history has no times."""
    return f"event {op.index}" if op.time_ns < 0 else f"{op.time_ns / 1e9:.3f} s"


class _Key:
    """Everything known about one key."""

    def __init__(self, history: History, calls: Sequence[Call], model: Model) -> None:
        self.history = history
        self.model = model
        self.initial = model.init()
        self.writes = [call for call in calls if call.action[0] in ("write", "cas")]
        self.reads = [call for call in calls if call.action[0] == "read"]
        self.looks = [
            call for call in calls if call.action[0] in ("read", "cas") and not call.crashed
        ]
        self.appends = any(call.action[0] == "append" for call in calls)

    def writers(self, value: Any) -> list[Call]:
        return [call for call in self.writes if call.action[-1] == value]

    def refused(self, value: Any, before: int = OPEN) -> Op | None:
        """The last invocation of a write of the value that failed for certain, and began before."""
        found = None
        for invoke, completion in self.history.invocations():
            if completion is None or completion.type != "fail" or invoke.f in ("read", "get"):
                continue
            if invoke.index >= before:
                break
            action = self.model.action(invoke, None)
            if action is not None and action[-1] == value:
                found = invoke
        return found


def classify(
    shrunk: Sequence[Call], calls: Sequence[Call], history: History, model: Model
) -> Finding:
    """Name the violation shown by ``shrunk``, looking at all ``calls`` of the key for context.

    Calls are told apart by the index of their invocation: numbers in ``shrunk`` are its own.
    """
    key = _Key(history, calls, model)
    whole = {call.invoke.index: call for call in calls}
    observers = [
        whole[call.invoke.index]
        for call in shrunk
        if call.action[0] in ("read", "cas") and not call.crashed
    ]
    observers.sort(key=lambda call: call.end)
    observers = observers[-OBSERVERS_MAX:]
    if not key.appends:
        for look in (_unwritten, _overwritten, _applied_twice):
            for observer in observers:
                finding = look(observer, key)
                if finding is not None:
                    return finding
    return _fallback(shrunk, model)


def _seen(observer: Call) -> str:
    """How the observer is told: ``read 3 by process 7 at 12.410 s``."""
    what = f"read {show(observer.action[1])}"
    if observer.action[0] == "cas":
        what = f"cas of {show(observer.action[1])} to {show(observer.action[2])}"
    elif observer.completion is not None and observer.completion.type == "fail":
        what = f"failed {observer.invoke.f} that saw {show(observer.action[1])}"
    done = observer.completion or observer.invoke
    return f"{what} by process {observer.invoke.process} at {when(done)}"


def _unwritten(observer: Call, key: _Key) -> Finding | None:
    value = observer.action[1]
    if value == key.initial:
        return None
    begun = [call.invoke for call in key.writers(value)]
    if any(invoke.index < observer.end for invoke in begun):
        return None
    refused = key.refused(value, observer.end)
    if refused is not None:
        return Finding(
            kind="failed-write-visible",
            explanation=f"{_seen(observer)} saw a value whose write had failed: process "
            f"{refused.process} tried it at {when(refused)} and was told that it did not "
            "happen",
            calls=(observer,),
        )
    late = key.refused(value)
    first = min([*begun, *([late] if late else [])], key=lambda op: op.index, default=None)
    if first is not None:
        return Finding(
            kind="read-from-future",
            explanation=f"{_seen(observer)} is from the future: the first write of "
            f"{show(value)}, by process {first.process}, began only at {when(first)}",
            calls=(observer, *(call for call in key.writes if call.invoke is first)),
        )
    return Finding(
        kind="phantom-read",
        explanation=f"{_seen(observer)} saw a value that nobody ever tried to write there",
        calls=(observer,),
    )


def _overwritten(observer: Call, key: _Key) -> Finding | None:
    value = observer.action[1]
    origins = [call for call in key.writers(value) if call.begin < observer.end]
    if observer in origins or any(call.end == OPEN for call in origins):
        return None
    last_origin_end = max((call.end for call in origins), default=-1)
    if value != key.initial and not origins:
        return None

    def between(call: Call) -> bool:
        return last_origin_end < call.begin and call.end < observer.begin

    overwrites = [c for c in key.writes if between(c) and c.action[-1] != value]
    glimpses = [c for c in key.reads if between(c) and c.action[1] != value]
    if not overwrites and not glimpses:
        return None
    origin = max(origins, key=lambda call: call.end, default=None)
    newest = max(overwrites or glimpses, key=lambda call: call.end)
    involved = [call for call in (origin, newest, observer) if call is not None]
    if overwrites and _is_lost(observer, overwrites, key):
        return _lost(observer, newest, tuple(involved))
    return _stale(observer, newest, overwrites, key, tuple(involved))


def _applied_twice(observer: Call, key: _Key) -> Finding | None:
    """The one write of the value took effect before another began, and again after that one ended."""
    value = observer.action[1]
    origins = key.writers(value)
    sightings = [read for read in key.reads if read.action[1] == value]
    if len(origins) != 1 or value == key.initial or not sightings or key.refused(value):
        return None
    first = min(sightings, key=lambda read: read.end)
    between = [
        call
        for call in key.writes
        if first.end < call.begin and call.end < observer.begin and call.action[-1] != value
    ]
    if not between or first is observer:
        return None
    other = max(between, key=lambda call: call.end)
    origin = origins[0]
    newer = {call.action[-1] for call in between}
    back = next((c for c in key.looks if c.action[1] in newer and c.begin > observer.end), None)
    if back is not None:
        because = (
            f"it had been read by process {first.invoke.process} at "
            f"{when(first.completion or first.invoke)}, {_written(other)} by process "
            f"{other.invoke.process} had replaced it by "
            f"{when(other.completion or other.invoke)}, before that {observer.invoke.f} began at "
            f"{when(observer.invoke)}, and {_seen(back)} came after it"
        )
        return _stale_finding(observer, because, (origin, first, other, observer, back))
    return Finding(
        kind="write-applied-twice",
        explanation=f"{_written(origin)} by process {origin.invoke.process} took effect twice: "
        f"process {first.invoke.process} read {show(value)} at "
        f"{when(first.completion or first.invoke)}, {_written(other)} by process "
        f"{other.invoke.process} had replaced it by {when(other.completion or other.invoke)}, "
        f"and {_seen(observer)} saw it again",
        calls=(origin, first, other, observer),
    )


def _is_lost(observer: Call, overwrites: list[Call], key: _Key) -> bool:
    newer = {call.action[-1] for call in overwrites}
    if any(
        look.action[1] in newer and look.end > observer.begin and look is not observer
        for look in key.looks
    ):
        return False
    others = [read for read in key.reads if read is not observer]
    last = max(overwrites, key=lambda call: call.end)
    next_begin = min(
        (
            call.begin
            for call in key.writes
            if call.end > last.end and call.action[-1] != observer.action[1]
        ),
        default=OPEN,
    )
    bound = [
        read
        for read in others
        if last.end < read.begin and read.end < next_begin and read.action[1] not in newer
    ]
    if bound and observer.end < next_begin:
        return True
    return not any(read.action[1] in newer for read in others)


def _written(call: Call) -> str:
    """How a finished write is told."""
    if call.action[0] == "cas":
        return f"the cas to {show(call.action[2])}"
    if call.action == ("write", NIL):
        return "the delete"
    return f"the write of {show(call.action[1])}"


def _lost(observer: Call, newest: Call, involved: tuple[Call, ...]) -> Finding:
    done = newest.completion or newest.invoke
    return Finding(
        kind="lost-write",
        explanation=f"{_written(newest)} by process {newest.invoke.process} is lost: it was "
        f"acknowledged at {when(done)}, yet {_seen(observer)}, which began later at "
        f"{when(observer.invoke)}, found an older value, and no read after it saw "
        f"{show(newest.action[-1])}",
        calls=involved,
    )


def _stale(
    observer: Call,
    newest: Call,
    overwrites: list[Call],
    key: _Key,
    involved: tuple[Call, ...],
) -> Finding:
    done = newest.completion or newest.invoke
    if not overwrites:
        because = (
            f"{show(newest.action[1])} had been read by process {newest.invoke.process} at "
            f"{when(done)}, before that {observer.invoke.f} began at {when(observer.invoke)}"
        )
        return _stale_finding(observer, because, involved)
    because = (
        f"{_written(newest)} by process {newest.invoke.process} had finished at {when(done)}, "
        f"before that {observer.invoke.f} began at {when(observer.invoke)}"
    )
    newer = {call.action[-1] for call in overwrites}
    seen = [r for r in key.reads if r.action[1] in newer and r.number != observer.number]
    if seen:
        witness = min(seen, key=lambda read: abs(read.end - observer.begin))
        order = "before" if witness.end < observer.begin else "also"
        because += (
            f", and process {witness.invoke.process} {order} read "
            f"{show(witness.action[1])} at {when(witness.completion or witness.invoke)}"
        )
        involved = (*involved, witness)
    return _stale_finding(observer, because, involved)


def _stale_finding(observer: Call, because: str, involved: tuple[Call, ...]) -> Finding:
    return Finding(
        kind="stale-read",
        explanation=f"{_seen(observer)} is stale: {because}",
        calls=involved,
    )


def _fallback(shrunk: Sequence[Call], model: Model) -> Finding:
    last = max((c for c in shrunk if not c.crashed), key=lambda call: call.end)
    rest = len(shrunk) - 1
    return Finding(
        kind="not-linearizable",
        explanation=f"{model.describe(last.action)} by process {last.invoke.process} at "
        f"{when(last.completion or last.invoke)} fits no order of the {rest} other "
        f"operation{'' if rest == 1 else 's'} around it",
        calls=(last,),
    )
