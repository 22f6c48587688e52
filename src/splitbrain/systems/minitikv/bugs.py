"""The seeded bugs of minitikv: what each changes, what reveals it, and the command that finds it.

The classes live in ``cluster/bugs``; here, and in ``txn_bugs``, is what a tester needs to know of
them.  ``share`` is the number of the seeds 1 to 20 whose run by that command is invalid, as measured
by ``make deep``.
"""

from __future__ import annotations

from collections.abc import Mapping

from splitbrain.contracts.system import Bug
from splitbrain.systems.minitikv.txn_bugs import TXN_BUGS

__all__ = ["BUGS"]

_LOSS = ("lost-write", "stale-read", "not-linearizable", "node-crash")
_STALE = ("stale-read", "lost-write", "not-linearizable")

_ALL = (
    Bug(
        name="ack-on-append",
        id="R25",
        story="The leader acknowledges a write once it is in its own log. A leader that was cut off "
        "goes on acknowledging, and the next leader knows nothing of it.",
        anomalies=("lost-write", "stale-read", "not-linearizable"),
        nemesis=("partition",),
        harmless=("clock",),
        share=20,
    ),
    Bug(
        name="local-leader-read",
        id="R10",
        story="The leader answers reads from its own state, without asking a majority whether it "
        "still leads. A deposed leader answers with values that were overwritten; where nobody "
        "read the newer value in time, that is told as a lost write.",
        anomalies=_STALE,
        nemesis=("partition",),
        harmless=("kill",),
        options={"op-timeout": 0.5, "read-share": 0.7},
        share=17,
    ),
    Bug(
        name="read-index-before-noop",
        id="R12",
        story="A new leader answers reads before an entry of its own term is committed. It may not "
        "know yet of writes that its predecessor acknowledged.",
        anomalies=_STALE,
        nemesis=("kill",),
        harmless=("clock",),
        options={"op-timeout": 0.5, "slow-commit-ms": 1000, "sim-fsync-ms": 60},
        share=10,
    ),
    Bug(
        name="append-no-fsync",
        id="R03",
        story="A follower says that it has an entry before the entry is forced to disk. A loss of "
        "power takes it away from the majority that the leader counted on.",
        anomalies=_LOSS,
        nemesis=("power",),
        harmless=("kill",),
        share=19,
    ),
    Bug(
        name="no-conflict-truncate",
        id="R07",
        story="A follower keeps an entry that it has at an index, whatever its term, and says yes. "
        "Its log and the leader's then differ where both are committed.",
        anomalies=_LOSS,
        nemesis=("partition",),
        harmless=("clock",),
        needs_fault=True,
        spec={"rate_hz": 200.0, "nemesis_interval_s": 2.5},
        share=19,
    ),
    Bug(
        name="quorum-off-by-one",
        id="R16",
        story="The leader counts n/2 replicas as a majority. Of five nodes two suffice, and two "
        "parts of a split cluster both serve.",
        anomalies=_LOSS,
        nemesis=("partition", "kill"),
        harmless=("clock",),
        share=16,
    ),
    Bug(
        name="dropped-proposal-says-no",
        id="R27",
        story="A leader that steps down answers 'certainly not done' for what it had appended; its "
        "successor may commit it all the same. The client, told no, may try again: then the write "
        "is applied twice.",
        anomalies=("failed-write-visible", "write-applied-twice", "not-linearizable"),
        nemesis=("partition", "pause"),
        harmless=("clock",),
        needs_fault=True,
        options={"op-timeout": 4},
        spec={"rate_hz": 200.0, "nemesis_interval_s": 2.0},
        share=6,
    ),
    Bug(
        name="timeout-is-fail",
        id="C01",
        story="The client reports a write whose answer never came as failed. The write may have "
        "been applied, or may be yet.",
        anomalies=("failed-write-visible", "not-linearizable"),
        nemesis=("partition", "pause"),
        harmless=("clock",),
        needs_fault=True,
        share=18,
    ),
    Bug(
        name="vote-not-durable",
        id="R01",
        story="A vote is told before it is forced to disk. A node that loses power forgets that it "
        "voted and votes again: two leaders of one term.",
        anomalies=_LOSS,
        schedule="vote-not-durable",
        options={"election-timeouts": "n1=2,n2=4,n3=4"},
        spec={"nodes": ("n1", "n2", "n3")},
        harmless=("kill",),
        share=20,
    ),
    Bug(
        name="commit-old-term",
        id="R04",
        story="A leader takes an entry of an earlier term for committed once a majority has it "
        "(Raft, figure 8). Another leader may still overwrite it.",
        anomalies=_LOSS,
        schedule="commit-old-term",
        options={
            "election-timeouts": "n1=6,n2=15,n3=15",
            "entries-per-append": 1,
            "inflight": 1,
            "op-timeout": 10,
        },
        spec={
            "nodes": ("n1", "n2", "n3"),
            "concurrency": 30,
            "rate_hz": 20.0,
            "time_limit_s": 70.0,
        },
        harmless=("clock",),
        needs_fault=True,
        share=20,
    ),
    Bug(
        name="truncate-on-match",
        id="R08",
        story="Each append cuts the follower's log behind it. One that comes late cuts off entries "
        "that were acknowledged since.",
        anomalies=_LOSS,
        schedule="truncate-on-match",
        options={
            "election-timeouts": "n1=6,n2=15,n3=15",
            "entries-per-append": 64,
            "inflight": 256,
            "slow-commit-ms": 0,
            "slow-apply-ms": 0,
            "snapshot-every": 10000,
            "sim-delay-ms": 44.5,
            "sim-jitter-ms": 1,
            "sim-fsync-ms": 0.5,
            "sim-order": "time",
            "keys": 1000,
            "read-share": 0.01,
        },
        spec={
            "nodes": ("n1", "n2", "n3"),
            "concurrency": 80,
            "rate_hz": 200.0,
            "time_limit_s": 35.0,
        },
        harmless=("clock",),
        needs_fault=True,
        share=20,
    ),
)

BUGS: Mapping[str, Bug] = {bug.name: bug for bug in (*_ALL, *TXN_BUGS)}
"""By name."""
