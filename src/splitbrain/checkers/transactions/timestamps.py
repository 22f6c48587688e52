"""The timestamp replay: transactions judged by the timestamps that they tell.

Where start and commit timestamps are known, no order has to be searched for: each read has one right
answer, and each pair of writers either overlaps or does not (Chronos, ICDE 2025; the intervals of locks
as TiKV has them).  O(n log n).  What is judged:

1. each read is the latest commit at or before its timestamp (:mod:`.reads`), those of transactions that
   failed, or whose end is unknown, too: a store answers them by the same rule;
2. no two writers of a key overlap, and none commits at another's timestamp (:mod:`.order`);
3. a serializable transaction's reads are still true when it commits;
4. a transaction that begins after another was acknowledged sees it;
5. no store holds a commit of a transaction that was said to have failed (``ghost-commit``), or that
   nobody asked for (``foreign-commit``), on a key of the test.

Each transaction is held to its own level; what its level allows is named under ``allowed``, and never
an anomaly.  Where evidence lacks, the verdict is unknown, reason ``no-evidence``: transactions without
timestamps, and reads that only a transaction of unknown outcome explains.

``stats``: transactions, committed, aborted, unknown, resolved (unknown ones that were shown to have
committed), levels, paths, reads, writes, allowed {kind: {count, ops}}, open_reads, untimed_reads,
untraced, bare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.transactions.evidence import dumps_of
from splitbrain.checkers.transactions.naming import Naming, who
from splitbrain.checkers.transactions.order import (
    Clash,
    late_starts,
    lawful,
    overlaps,
    overtaken,
    sentence,
)
from splitbrain.checkers.transactions.reads import Reads, judge_reads
from splitbrain.checkers.transactions.timelines import Timelines, timelines
from splitbrain.checkers.transactions.transactions import (
    Gathered,
    Transaction,
    gather,
    level_of,
)
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Anomaly, Result
from splitbrain.errors import RequestError
from splitbrain.history.history import History

__all__ = ["TimestampChecker"]

LISTED_MAX: Final = 50

_ASSUMED: Final = (
    "keys begin absent, and only the history's clients write them",
    "clients tell timestamps as they had them",
)


class TimestampChecker:
    """Judges transactions by their timestamps."""

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Replay the history."""
        try:
            gathered = gather(history)
            lines = timelines(gathered, dumps_of(history))
        except ValueError as error:
            raise RequestError(str(error)) from error
        reads = judge_reads(gathered, lines)
        naming = Naming(gathered.transactions, lines, reads)
        anomalies = [naming.anomaly(bad) for bad in reads.bad[:LISTED_MAX]]
        clashes = [
            *overlaps(gathered, lines),
            *overtaken(gathered, lines),
            *late_starts(gathered, lines),
        ]
        anomalies += [_of_clash(one, gathered, lines) for one in clashes[:LISTED_MAX]]
        strays = list(_strays(gathered, lines))
        anomalies += strays[:LISTED_MAX]
        found = len(reads.bad) + len(clashes) + len(strays)
        stats = _stats(gathered, lines, reads)
        stats["anomalies"] = found
        anomalies.sort(key=lambda anomaly: max(anomaly.ops, default=len(history)))
        return _result(gathered, reads, stats, anomalies[:LISTED_MAX])


def _of_clash(clash: Clash, gathered: Gathered, lines: Timelines) -> Anomaly:
    first, second = gathered.transactions[clash.first], gathered.transactions[clash.second]
    return Anomaly(
        kind=clash.kind,
        explanation=sentence(clash, gathered.transactions, lines),
        ops=tuple(sorted({*first.ops, *second.ops})),
        key=clash.key or None,
        picture={"op": second.ops[-1]},
    )


def _strays(gathered: Gathered, lines: Timelines) -> Iterator[Anomaly]:
    """Records of a dump that should not be there."""
    for number, record in lines.ghosts:
        one = gathered.transactions[number]
        text = f"{who(one)} failed, but was committed at {record.commit_ts}"
        yield Anomaly(
            kind="ghost-commit",
            explanation=f"key {record.key}: {text}",
            ops=one.ops,
            key=record.key,
        )
    if gathered.untraced or gathered.bare:
        return
    touched = {key for one in gathered.transactions for key in (*one.writes, *one.locked)}
    for record in lines.foreign:
        if record.key in touched:
            text = f"committed at {record.commit_ts} by start {record.start_ts}"
            yield Anomaly(
                kind="foreign-commit",
                explanation=f"key {record.key}: {text}, which no client had",
                key=record.key,
            )


def _stats(gathered: Gathered, lines: Timelines, reads: Reads) -> dict[str, Any]:
    transactions = gathered.transactions
    fates = Counter(one.fate for one in transactions)
    resolved = sum(
        one.fate == "unknown" and one.number in lines.commits for one in transactions
    )
    committed = [one for one in transactions if one.fate == "committed"]
    return {
        "transactions": len(transactions),
        "committed": fates["committed"],
        "aborted": fates["aborted"],
        "unknown": fates["unknown"],
        "resolved": resolved,
        "levels": dict(sorted(Counter(map(level_of, committed)).items())),
        "paths": dict(
            sorted(Counter(one.foot.path for one in committed if one.foot.path).items())
        ),
        "reads": reads.judged,
        "writes": sum(len(one.writes) for one in committed),
        "allowed": _allowed(gathered, lines),
        "open_reads": len(reads.open),
        "untimed_reads": reads.untimed,
        "untraced": len(gathered.untraced),
        "bare": len(gathered.bare),
        "uncertain": sum(_uncertain(one, lines) for one in committed),
    }


def _uncertain(one: Transaction, lines: Timelines) -> bool:
    return bool(one.writes) and one.number not in lines.commits


def _allowed(gathered: Gathered, lines: Timelines) -> dict[str, Any]:
    """How often each lawful thing happened, and the first one's operations."""
    seen: dict[str, dict[str, Any]] = {}
    for each in lawful(gathered, lines):
        pair = (gathered.transactions[each.first], gathered.transactions[each.second])
        ops = sorted({index for one in pair for index in one.ops})
        entry = seen.setdefault(each.kind, {"count": 0, "ops": ops, "key": each.key})
        entry["count"] += 1
    return seen


def _result(
    gathered: Gathered, reads: Reads, stats: Mapping[str, Any], anomalies: Sequence[Anomaly]
) -> Result:
    about = f"{stats['committed']} transactions, {stats['reads']} reads by their timestamps"
    if stats["allowed"]:
        told = (f"{entry['count']} {kind}" for kind, entry in stats["allowed"].items())
        about += f" ({' and '.join(told)}, which the level allows)"
    undecided = tuple(
        text
        for count, text in (
            (len(gathered.bare), "acknowledged operations told no timestamp"),
            (stats["uncertain"], "acknowledged writers told no commit timestamp"),
            (len(reads.open), "reads may have seen a transaction of unknown outcome"),
            (reads.untimed, "locking reads told no for_update_ts"),
        )
        if count
        for text in (f"{count} {text}",)
    )
    verdict, reason, summary = VALID, None, f"{about} are right"
    if anomalies:
        verdict, summary = (
            INVALID,
            f"{anomalies[0].explanation}; {stats['anomalies']} anomalies",
        )
    elif not gathered.transactions and not gathered.bare:
        verdict, reason, summary = UNKNOWN, "vacuous", "no transaction left a timestamp"
    elif undecided:
        verdict, reason, summary = UNKNOWN, "no-evidence", "; ".join(undecided)
    return Result(
        verdict=verdict,
        summary=summary,
        reason=reason,
        anomalies=tuple(anomalies),
        stats=stats,
        kernel="timestamps",
        assumed=_ASSUMED,
        undecided=undecided,
    )
