"""Once faults and writes are over, does every node give the same answer?

Of registers.  A key is *quiet* after its last write and after the last heal, and it is *settled* a
given time later.  Of the reads that begin when a key is settled, any two by clients of different nodes
must agree; where they do not, the replicas have not converged: ``divergence``.

A write of unknown outcome may take effect at any time, so two reads may differ because it did so
between them:

    write 5, never acknowledged   |- - - - - - - - - - - - - - - - - - -
    read by n1                          |--| 3
    read by n2                                |--| 5      explained: 5 came late
    read by n1                                       |--| 3      divergence: 5 was seen, 3 is back

A pair is explained if one of them saw such a write, and the other did not begin after that one ended.
Where a history names no nodes, processes stand for them.

Keys without two settled reads of different nodes are ``not_compared``; if that is every key, nothing
was tested: unknown, ``vacuous``.

``stats``: keys, compared, not_compared, diverged, diverged_keys, settle_s, and ``slowest_s``, the
longest time from a key's being quiet to the end of the last read of it that still saw something else
than the last read of all (0 where each agreed at once).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from splitbrain.checkers.bands import fault_bands
from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.classify import when
from splitbrain.checkers.linearizable.model import show
from splitbrain.checkers.phases import phase_marks
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Anomaly, Result
from splitbrain.history.history import History, freeze
from splitbrain.history.op import Op

__all__ = ["ConvergenceChecker"]

LISTED_MAX: Final = 50


class _Read(msgspec.Struct, frozen=True):
    """A successful read.

    Attributes:
        late: what it saw may have been written late, by a write of unknown outcome.
    """

    invoke: Op
    end: Op
    value: Any
    late: bool

    @property
    def place(self) -> Any:
        """Its node, or its process where it names none."""
        return self.invoke.node or self.invoke.process


class _Key(msgspec.Struct, frozen=True):
    """One key after its last write.

    Attributes:
        quiet_ns: since when it is quiet.
        last: index of the last completion of an acknowledged write; -1 without one.
        reads: those that began after it was quiet, by invocation.
    """

    key: Any
    quiet_ns: int
    last: int
    reads: tuple[_Read, ...]

    def settled(self, settle_ns: int) -> list[_Read]:
        """The reads that must agree."""
        return [r for r in self.reads if r.invoke.time_ns >= self.quiet_ns + settle_ns]


class ConvergenceChecker:
    """Judges whether settled reads agree.

    Args:
        settle_s: time after which a quiet key is settled, in seconds.

    The option ``converge-seconds`` of ``check``, if given, goes before it.
    """

    def __init__(self, *, settle_s: float = 0.0) -> None:
        self.settle_s = settle_s

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Judge the final reads of every key."""
        settle_s = float(options.get("converge-seconds", self.settle_s))
        settle_ns = int(settle_s * 1e9)
        healed_ns = _healed_ns(history)
        anomalies: list[Anomaly] = []
        compared, apart, slowest_ns = 0, [], 0
        keys = [_of_key(key, part, healed_ns) for key, part in history.by_key().items()]
        for key in keys:
            settled = key.settled(settle_ns)
            if len({read.place for read in settled}) < 2:
                continue
            compared += 1
            slowest_ns = max(slowest_ns, _slowness_ns(key))
            pair = _divergence(settled)
            if pair is not None:
                apart.append(key.key)
                anomalies.append(_anomaly(key, *pair))
        stats = {
            "keys": len(keys),
            "compared": compared,
            "not_compared": len(keys) - compared,
            "diverged": len(apart),
            "diverged_keys": apart[:LISTED_MAX],
            "settle_s": settle_s,
            "slowest_s": round(slowest_ns / 1e9, 6),
        }
        return _result(stats, anomalies)


def _healed_ns(history: History) -> int:
    """When the last fault ended; the final phase's beginning where one was never healed."""
    ends = [band.end_ns for band in fault_bands(history)]
    last = max((end for end in ends if end is not None), default=-1)
    if None not in ends:
        return last
    marks = phase_marks(history)
    return max(last, marks.get("final", history[-1].time_ns + 1))


def _of_key(key: Any, part: History, healed_ns: int) -> _Key:
    last, quiet_ns = -1, healed_ns
    sure: set[Any] = set()
    late: set[Any] = set()
    reads: list[tuple[Op, Op]] = []
    for invoke, completion in part.invocations():
        if invoke.f == "read":
            if completion is not None and completion.type == "ok":
                reads.append((invoke, completion))
        elif completion is None or completion.type == "info":
            late.add(_written(invoke))
        elif completion.type == "ok":
            sure.add(_written(invoke))
            last = max(last, completion.index)
            quiet_ns = max(quiet_ns, completion.time_ns)
    after = tuple(
        _Read(invoke, end, freeze(end.value), freeze(end.value) in late)
        for invoke, end in reads
        if invoke.index > last and invoke.time_ns >= healed_ns
    )
    return _Key(key, quiet_ns, last, after)


def _written(invoke: Op) -> Any:
    """What a read after this operation alone would see."""
    value = invoke.value
    if invoke.f == "delete":
        value = None
    elif invoke.f == "cas" and isinstance(value, list | tuple) and len(value) == 2:
        value = value[1]
    return freeze(value)


def _divergence(reads: Sequence[_Read]) -> tuple[_Read, _Read] | None:
    """The first pair, by the later one's invocation, that differs without an explanation."""
    # Of reads that agree in value and place, the first to end differs from a later one if any does.
    firsts: dict[tuple[Any, Any], _Read] = {}
    for read in reads:
        for (value, place), earlier in firsts.items():
            if value != read.value and place != read.place and _apart(earlier, read):
                return earlier, read
        name = (read.value, read.place)
        first = firsts.get(name)
        if first is None or read.end.index < first.end.index:
            firsts[name] = read
    return None


def _apart(earlier: _Read, later: _Read) -> bool:
    """Whether two differing reads, in order of invocation, cannot both be right."""
    if later.late:
        return False
    return not earlier.late or later.invoke.index > earlier.end.index


def _slowness_ns(key: _Key) -> int:
    """From its being quiet to the end of the last read that differs from the very last."""
    final = max(key.reads, key=lambda read: read.end.index)
    others = [r.end.time_ns for r in key.reads if r.value != final.value]
    return max(0, max(others, default=key.quiet_ns) - key.quiet_ns)


def _anomaly(key: _Key, one: _Read, other: _Read) -> Anomaly:
    about = "" if key.key is None else f"key {show(key.key)}: "
    text = (
        f"{_told(one)}, but {_told(other)}, although its last acknowledged write had ended, and the "
        f"last fault was healed, by {max(0, key.quiet_ns) / 1e9:.3f} s"
    )
    ops = {one.invoke.index, one.end.index, other.invoke.index, other.end.index}
    return Anomaly(
        kind="divergence",
        explanation=about + text,
        ops=tuple(sorted(ops | ({key.last} if key.last >= 0 else set()))),
        key=key.key,
        picture={
            "op": other.end.index,
            "quiet_ns": key.quiet_ns,
            "answers": _answers(key.reads),
        },
    )


def _told(read: _Read) -> str:
    who = f"node {read.invoke.node}" if read.invoke.node else "the system"
    return f"{who} told process {read.invoke.process} {show(read.value)} at {when(read.end)}"


def _answers(reads: Sequence[_Read]) -> dict[str, str]:
    """The last answer of each node (or process)."""
    return {str(read.place): show(read.value) for read in reads}


def _result(stats: Mapping[str, Any], anomalies: Sequence[Anomaly]) -> Result:
    settled = (
        f"{stats['compared']} of {stats['keys']} keys were read from several nodes at the end"
    )
    if anomalies:
        return Result(
            verdict=INVALID,
            summary=f"{anomalies[0].explanation}; {stats['diverged']} keys diverged; {settled}",
            anomalies=tuple(anomalies[:LISTED_MAX]),
            stats=stats,
            kernel="convergence",
        )
    if not stats["compared"]:
        return Result(
            verdict=UNKNOWN,
            summary="no key was read from two nodes after it had settled",
            reason="vacuous",
            stats=stats,
            kernel="convergence",
        )
    return Result(
        verdict=VALID, summary=f"{settled}, and agreed", stats=stats, kernel="convergence"
    )
