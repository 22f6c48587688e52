"""The invariants that timestamps must keep; see :mod:`.invariants`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from splitbrain.checkers.transactions.records import Breach, Looked, Seen
from splitbrain.history.history import History

__all__ = ["invariants"]


def invariants(seen: Seen, history: History) -> Iterator[Looked]:
    """I6 to I8."""
    yield "I6", *_snapshots(seen)
    yield "I7", *_late_commits(seen)
    yield "I8", *_oracle(seen, history)


def _snapshots(seen: Seen) -> tuple[int, list[Breach]]:
    lines: dict[str, list[tuple[int, int, int]]] = {}
    floor: dict[str, int] = {}
    for replica in seen.replicas:
        if not replica.part.fresh:
            continue
        for key, line in replica.lines().items():
            lines.setdefault(key, []).extend(
                (record.commit_ts, record.start_ts, replica.index)
                for record in line
                if record.kind in ("put", "delete")
            )
            floor[key] = max(floor.get(key, 0), replica.part.safe_point)
    for found in lines.values():
        found.sort()
    looked, breaches = 0, []
    for one in seen.transactions:
        if one.foot.isolation == "read-committed":
            continue
        for _, step in one.outside_reads():
            if (
                step.kind != "get"
                or not step.commit_ts
                or step.commit_ts < floor.get(step.key, 0)
            ):
                continue
            looked += 1
            there = lines.get(step.key, [])
            place = bisect_right(there, step.commit_ts, key=lambda each: each[0])
            if place < len(there) and there[place][0] <= one.foot.read_ts:
                commit_ts, start_ts, index = there[place]
                text = (
                    f"a read as of {one.foot.read_ts} saw the version of {step.commit_ts}, but "
                    f"there is one of {commit_ts}"
                )
                ops = (*one.ops, *seen.ops(start_ts, index))
                breaches.append(Breach(text, step.key, ops))
    return looked, breaches


def _late_commits(seen: Seen) -> tuple[int, list[Breach]]:
    looked, breaches = 0, []
    for one in seen.transactions:
        foot = one.foot
        if foot.path in ("async", "1pc") or not foot.prewritten_ns or not foot.commit_asked_ns:
            continue
        looked += 1
        if foot.commit_asked_ns < foot.prewritten_ns:
            early_us = (foot.prewritten_ns - foot.commit_asked_ns) // 1000
            text = (
                f"start {foot.start_ts} asked for its commit timestamp {early_us} us before its "
                "last prewrite was answered"
            )
            breaches.append(Breach(text, foot.primary, one.ops))
    return looked, breaches


def _oracle(seen: Seen, history: History) -> tuple[int, list[Breach]]:
    """Timestamps against real time: a sweep over invocations and completions."""
    had: list[tuple[int, int, int]] = [
        (invoke.index, end.index, end.value)
        for invoke, end in history.invocations()
        if invoke.f == "timestamp" and end is not None and end.type == "ok"
    ]
    had += [
        (one.invoke.index, one.end.index if one.end else one.invoke.index, one.foot.start_ts)
        for one in seen.transactions
        if not one.foot.version
    ]
    breaches: list[Breach] = []
    holder: dict[int, tuple[int, int]] = {}
    for begin, end, ts in sorted(had):
        other = holder.setdefault(ts, (begin, end))
        if other != (begin, end):
            breaches.append(
                Breach(f"the timestamp {ts} was given twice", None, (*other, begin, end))
            )
    breaches += _backwards(had)
    return len(had), breaches


def _backwards(had: Sequence[tuple[int, int, int]]) -> Iterator[Breach]:
    events = sorted(
        [(begin, 0, end, ts) for begin, end, ts in had]
        + [(end, 1, begin, ts) for begin, end, ts in had if end != begin]
    )
    newest, ops = 0, (0, 0)
    for at, ended, other, ts in events:
        if ended:
            if ts > newest:
                newest, ops = ts, (other, at)
        elif ts < newest:
            text = f"the timestamp {ts} was asked for after {newest} had been given"
            yield Breach(text, None, (*ops, at, other))
