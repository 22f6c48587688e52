"""White-box invariants of Percolator, over final dumps and the timestamps that clients had.

    I1   at most one lock a key, or shared ones only
    I2   start < commit; the commits of a key differ; no writer looked for conflicts before an earlier
         commit of its key (where the history knows the writer)
    I3   no key has both a commit and a rollback of one transaction
    I4   a transaction's commit records tell one timestamp; with a secondary's there is the primary's,
         or its lock of an async commit (where the history tells the primary)
    I5   each put, and each lock of a put, has its value
    I6   between the version that a snapshot read was told and the read's timestamp there is no other
    I7   plain two-phase commit: the commit timestamp was asked for after the last prewrite's answer
         (where the client tells both times)
    I8   a timestamp had before another was asked for is the smaller; none comes twice: ``timestamp``
         operations and starts
    I9   what was acknowledged is there: the primary's record, or for async each key's record or lock
    I10  no lock is left of transactions whose locks were resolved (dumps that name ``resolved_ts``)
    I11  replicas at one applied index agree on locks and records

I4, I6 and I9 look at *fresh* replicas, which had applied all that was committed when they were asked;
of records, at those above the safe point: what is below may be collected, here and not there.
I10 is not promised of a store at rest (nobody resolves idle locks): only after a pass that did.
``stats``: for each invariant how many things were looked at, and how many broke it; ``not_seen`` lists
those for which the history had no evidence.  Without any it is valid and has shown nothing: the replay
is the judge of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.transactions import records, times
from splitbrain.checkers.transactions.evidence import dumps_of
from splitbrain.checkers.transactions.records import Breach, Seen
from splitbrain.checkers.transactions.transactions import gather
from splitbrain.checkers.verdict import INVALID, VALID, Anomaly, Result
from splitbrain.errors import RequestError
from splitbrain.history.history import History

__all__ = ["NAMES", "InvariantChecker"]

LISTED_MAX: Final = 50

NAMES: Final = {
    "I1": "two-locks",
    "I2": "commit-order",
    "I3": "committed-and-rolled-back",
    "I4": "torn-commit",
    "I5": "value-missing",
    "I6": "snapshot-changed",
    "I7": "commit-ts-too-early",
    "I8": "timestamp-order",
    "I9": "commit-not-durable",
    "I10": "lock-left",
    "I11": "replicas-differ",
}
"""The anomaly that breaking an invariant is told as."""


class InvariantChecker:
    """Judges dumps and timestamps."""

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Look at every record and every timestamp."""
        try:
            seen = Seen.of(gather(history), dumps_of(history))
        except ValueError as error:
            raise RequestError(str(error)) from error
        looked: dict[str, int] = dict.fromkeys(NAMES, 0)
        broken: dict[str, int] = dict.fromkeys(NAMES, 0)
        anomalies: list[Anomaly] = []
        for name, count, breaches in _all(seen, history):
            looked[name] += count
            for breach in breaches:
                broken[name] += 1
                if broken[name] <= LISTED_MAX:
                    anomalies.append(_anomaly(name, breach))
        stats = {
            name: {"looked_at": looked[name], "broken": broken[name]}
            for name in NAMES
            if looked[name]
        }
        unseen = [name for name in NAMES if not looked[name]]
        return _result(stats, unseen, anomalies)


def _all(seen: Seen, history: History) -> Iterator[tuple[str, int, Iterable[Breach]]]:
    yield from records.invariants(seen)
    yield from times.invariants(seen, history)


def _anomaly(name: str, breach: Breach) -> Anomaly:
    about = "" if breach.key is None else f"key {breach.key}: "
    return Anomaly(
        kind=NAMES[name],
        explanation=f"{about}{breach.text} ({name})",
        ops=tuple(sorted(set(breach.ops))),
        key=breach.key,
    )


def _result(stats: Mapping[str, Any], unseen: list[str], anomalies: list[Anomaly]) -> Result:
    held = ", ".join(stats) or "none"
    summary = f"white-box invariants looked at: {held}"
    if anomalies:
        broken = sum(entry["broken"] for entry in stats.values())
        summary = f"{anomalies[0].explanation}; {broken} breaches"
    return Result(
        verdict=INVALID if anomalies else VALID,
        summary=summary if anomalies or not stats else f"{summary}; all hold",
        anomalies=tuple(anomalies),
        stats={**stats, "not_seen": unseen},
        kernel="invariants",
    )
