"""The replay's definitions, word by word, in as many loops as it takes."""

from __future__ import annotations

from typing import Any

from splitbrain.checkers.transactions.timelines import Timelines
from splitbrain.checkers.transactions.transactions import Gathered, Transaction
from splitbrain.history.history import freeze


def commits_of(gathered: Gathered, lines: Timelines, key: str) -> list[tuple[int, int, Any]]:
    """Everything committed on a key: (commit_ts, writer, value)."""
    found = [
        (commit_ts, number, gathered.transactions[number].writes[key])
        for number, commit_ts in lines.commits.items()
        if key in gathered.transactions[number].writes
    ]
    loose = [
        (version.commit_ts, -1, version.value)
        for version in lines.versions.get(key, ())
        if version.writer < 0
    ]
    return found + loose


def latest(commits: list[tuple[int, int, Any]], at: int, *, before: bool = False) -> Any:
    best: tuple[int, Any] = (0, None)
    for commit_ts, _, value in sorted(commits, key=lambda c: (c[0], c[1])):
        if (commit_ts < at if before else commit_ts <= at) and commit_ts >= best[0]:
            best = (commit_ts, value)
    return best


def wrong_reads(gathered: Gathered, lines: Timelines) -> set[tuple[int, int, str]]:
    """(transaction, step, key) of reads that are not as due, whoever might explain them."""
    wrong = set()
    for one in gathered.transactions:
        own: dict[str, Any] = {}
        for place, step in enumerate(one.foot.steps):
            if step.kind in ("put", "insert", "delete"):
                if step.kind == "insert" and step.key not in own and one.fate == "committed":
                    commit_ts = lines.commits.get(one.number)
                    due = latest(
                        commits_of(gathered, lines, step.key), commit_ts or 0, before=True
                    )
                    if commit_ts and due[1] is not None:
                        wrong.add((one.number, place, step.key))
                own[step.key] = None if step.kind == "delete" else freeze(step.value)
            elif step.kind in ("get", "lock"):
                if not _right(gathered, lines, one, own, step.key, step.value, step):
                    wrong.add((one.number, place, step.key))
            elif step.kind == "scan":
                seen = dict(step.value)
                start, end, _ = step.key
                keys = {*lines.versions, *seen, *own}
                for key in keys:
                    inside = start <= key and (not end or key < end)
                    if inside and not _right(
                        gathered, lines, one, own, key, seen.get(key), step
                    ):
                        wrong.add((one.number, place, key))
    return wrong


def _right(
    gathered: Gathered,
    lines: Timelines,
    one: Transaction,
    own: Any,
    key: str,
    seen: Any,
    step: Any,
) -> bool:
    value = freeze(seen)
    if key in own:
        return bool(value == own[key])
    at = step.at or (one.foot.for_update_ts[key] if step.kind == "lock" else one.foot.read_ts)
    commits = commits_of(gathered, lines, key)
    if one.foot.isolation == "read-committed":
        return value is None or any(c <= at and value == v for c, _, v in commits)
    due = latest(commits, at)
    told = step.commit_ts if step.kind != "scan" else 0
    return bool(value == due[1] and told in (0, due[0]))


def overlapping(gathered: Gathered, lines: Timelines) -> set[tuple[int, str]]:
    """(later transaction, key) of which an earlier commit lies inside the later one's interval."""
    found = set()
    for a, first in lines.commits.items():
        for b, second in lines.commits.items():
            if a == b:
                continue
            one, other = gathered.transactions[a], gathered.transactions[b]
            for key in {*one.writes, *one.locked} & {*other.writes, *other.locked}:
                begin = other.foot.for_update_ts.get(key, other.foot.start_ts)
                if first == second:
                    found.add((max(a, b), key))
                elif begin < first < second and other.foot.isolation != "read-committed":
                    found.add((b, key))
    return found


def unserializable(gathered: Gathered, lines: Timelines) -> set[int]:
    """Serializable transactions whose reads had changed before they committed."""
    found = set()
    for number, commit_ts in lines.commits.items():
        one = gathered.transactions[number]
        if one.foot.isolation != "serializable":
            continue
        own: set[str] = set()
        for step in one.foot.steps:
            if step.kind in ("put", "insert", "delete"):
                own.add(step.key)
            read = [step.key] if step.kind == "get" and step.key not in own else []
            if step.kind == "scan":
                read = [key for key, _ in step.value]
            for key in read:
                for changed, writer, _ in commits_of(gathered, lines, key):
                    if writer not in (-1, number) and one.foot.read_ts < changed < commit_ts:
                        found.add(number)
    return found


def too_old(gathered: Gathered, lines: Timelines) -> set[int]:
    """Transactions that began after an acknowledged commit, with an older timestamp."""
    return {
        later.number
        for later in gathered.transactions
        for one in gathered.transactions
        if one.fate == "committed"
        and one.end is not None
        and one.end.index < later.invoke.index
        and lines.commits.get(one.number, 0) > later.foot.start_ts
        and not later.foot.version
    }
