"""The seeded bugs of transactions: of their rules, of timestamps, and of the client; see ``bugs``.

Most need no fault but contention: two clients at one key.  What must not show them is then a single
worker that commits one key after another.

Two to ten seeds were tried of each; ``make deep`` counts twenty.
"""

from __future__ import annotations

from splitbrain.contracts.system import Bug

__all__ = ["TXN_BUGS"]

_LOST = ("lost-update", "write-overlap", "wrong-total")
_TORN = ("half-transaction", "fractured-read", "lost-write", "wrong-total", "lost-update")
_UNSTABLE = ("stale-read", "fractured-read", "wrong-total", "stale-snapshot", "lost-update")

_SHORT = {"time_limit_s": 5.0}
_HASTY = {"commit-path": "2pc", "lock-ttl-ms": 20, "sim-delay-ms": 4}
"""Locks that do not live as long as a commit takes: what a paused client does to its own."""

_LATE = {"sim-fsync-ms": 30, "answered-share": 0.5}
"""Commits that take so long that a kill meets some of them."""

TXN_BUGS = (
    Bug(
        name="no-conflict-check",
        id="P01",
        story="A transaction locks its keys without looking whether they were written since it "
        "began. Two that read one value each write its successor, and one of them is lost.",
        anomalies=_LOST,
        workload="bank",
        spec=_SHORT,
        share=10,
        tried=10,
    ),
    Bug(
        name="conflict-on-start",
        id="P02",
        story="A writer is taken for a conflict by when it began, not by when it committed. Who "
        "began before and committed during the transaction is overlooked.",
        anomalies=_LOST,
        workload="bank",
        spec=_SHORT,
        share=10,
        tried=10,
    ),
    Bug(
        name="read-ignores-lock",
        id="P04",
        story="Reads pass by locks. The lock may be of a transaction that has already committed on "
        "its other keys: the reader sees half of it.",
        anomalies=_UNSTABLE,
        workload="bank",
        options={"commit-path": "2pc"},
        spec={"time_limit_s": 10.0},
        share=9,
        tried=10,
    ),
    Bug(
        name="early-rollback",
        id="P06",
        story="A client that meets a lock rolls it back, and never asks the primary whether its "
        "transaction lives. Half of what was acknowledged is gone.",
        anomalies=_TORN,
        workload="bank",
        options={"commit-path": "2pc"},
        spec=_SHORT,
        share=10,
        tried=10,
    ),
    Bug(
        name="no-rollback-mark",
        id="P07",
        story="A transaction whose primary is not there is called rolled back, and nothing is "
        "written that would keep the primary from coming. It comes, and half is committed.",
        anomalies=_TORN,
        workload="bank",
        options={
            "split-keys": 4,
            "sim-jitter-ms": 30,
            "lock-ttl-ms": 10,
            "answered-share": 0.4,
        },
        spec={"time_limit_s": 10.0},
        share=2,
        tried=4,
    ),
    Bug(
        name="ack-before-primary",
        id="P09",
        story="The client tells its user that a transaction is committed once its keys are locked. "
        "Only the primary's commit decides, and it may never come.",
        anomalies=("commit-not-durable", "lost-write", "stale-read", "stale-snapshot"),
        workload="bank",
        nemesis=("kill", "power"),
        harmless=("clock",),
        options={"lock-ttl-ms": 100},
        spec={"time_limit_s": 30.0},
        share=4,
        tried=5,
    ),
    Bug(
        name="commit-without-lock",
        id="P10",
        story="A commit takes whatever lock is at its key for its own. Who was rolled back for "
        "being late commits another's value as its own.",
        anomalies=("committed-and-rolled-back", "wrong-total", "lost-update"),
        workload="bank",
        options=_HASTY,
        spec=_SHORT,
        share=10,
        tried=10,
    ),
    Bug(
        name="secondary-first",
        id="P11",
        story="The client commits the other keys before the primary, which alone decides. Readers "
        "push the primary's commit behind them, and have seen the rest: two commit timestamps.",
        anomalies=(*_TORN, "torn-commit"),
        workload="bank",
        spec=_SHORT,
        share=10,
        tried=10,
    ),
    Bug(
        name="missing-primary-lock-means-rollback",
        id="P12",
        story="Of a transaction whose primary has no lock it is said that it was rolled back; "
        "nobody looks whether it was committed. Its other keys are then removed.",
        anomalies=(*_TORN, "committed-and-rolled-back"),
        workload="bank",
        options=_HASTY,
        spec=_SHORT,
        share=10,
        tried=10,
    ),
    Bug(
        name="commit-ts-early",
        id="P14",
        story="The client takes its commit timestamp before its keys are locked. Who reads in "
        "between has a later timestamp, and does not see what is committed below it.",
        anomalies=_UNSTABLE,
        workload="bank",
        spec=_SHORT,
        share=2,
        tried=2,
    ),
    Bug(
        name="lock-no-conflict-check",
        id="P24",
        story="A pessimistic lock is given whatever was written since its timestamp, with the "
        "value as of then. What follows overwrites what was never seen.",
        anomalies=(*_LOST, "duplicate-value"),
        workload="monotonic",
        options={"txn-mode": "pessimistic"},
        spec=_SHORT,
        share=10,
        tried=10,
    ),
    Bug(
        name="commit-missing-ok",
        id="P30",
        story="A commit that finds no lock is answered with yes, also where the transaction was "
        "rolled back for being late.",
        anomalies=(*_TORN, "commit-not-durable"),
        workload="bank",
        options=_HASTY,
        spec=_SHORT,
        share=10,
        tried=10,
    ),
    Bug(
        name="notfound-is-rollback",
        id="P31",
        story="A client that meets a lock whose primary is not there yet takes the transaction for "
        "rolled back. The primary was only on its way, and commits.",
        anomalies=_TORN,
        workload="bank",
        options={"split-keys": 4, "sim-jitter-ms": 20, "answered-share": 0.5},
        spec={"time_limit_s": 10.0},
        share=6,
        tried=6,
    ),
    Bug(
        name="commit-timeout-is-fail",
        id="C01",
        story="The client reports a commit whose answer never came as failed. It may have been "
        "done, or may be yet.",
        anomalies=("ghost-commit", "failed-write-visible", "aborted-read"),
        workload="append",
        nemesis=("kill",),
        harmless=("clock",),
        needs_fault=True,
        options=_LATE,
        spec={"time_limit_s": 30.0},
        share=2,
        tried=3,
    ),
    Bug(
        name="undetermined-redo",
        id="C02",
        story="The client runs a transaction that is perhaps committed once more, as a new one. If "
        "it was committed, it has been done twice.",
        anomalies=("foreign-commit", "ghost-commit", "write-applied-twice"),
        workload="append",
        nemesis=("kill",),
        harmless=("clock",),
        needs_fault=True,
        options=_LATE,
        spec={"time_limit_s": 30.0},
        share=2,
        tried=3,
    ),
)
"""As told by id."""
