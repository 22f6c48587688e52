"""White-box invariants: right dumps keep them, and each way of breaking one is told by its name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.sound import result_problems
from splitbrain.checkers.transactions.evidence import (
    Dump,
    Footprint,
    LockRecord,
    Part,
    Step,
    WriteRecord,
)
from splitbrain.checkers.transactions.invariants import NAMES, InvariantChecker
from splitbrain.checkers.transactions.timestamps import TimestampChecker
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Result
from splitbrain.errors import RequestError
from splitbrain.history.history import History
from splitbrain.history.op import Op

from .histories import played, recipe


def check(history: History) -> Result:
    result = InvariantChecker().check(history, {}, Budget(20))
    assert not result_problems(result, history)
    return result


def foot(start_ts: int, commit_ts: int = 0, *steps: Step, **more: Any) -> Footprint:
    return Footprint(start_ts=start_ts, commit_ts=commit_ts, steps=list(steps), **more)


def put(key: str, value: Any) -> Step:
    return Step("put", key, value)


def told(*feet: Footprint, parts: tuple[Part, ...] = (), kinds: str = "") -> History:
    """One transaction after the other, then a dump of each part, on nodes n1, n2 ..."""
    ops: list[Op] = []
    for number, each in enumerate(feet):
        kind: Any = {"f": "fail", "i": "info"}.get(kinds[number : number + 1], "ok")
        ops.append(Op(process=number, type="invoke", f="txn"))
        ops.append(Op(process=number, type=kind, f="txn", ext=each.ext()))
    for number, part in enumerate(parts):
        dump = Dump(node=f"n{number + 1}", parts=(part,)).plain()
        ops.append(Op(process=100, type="invoke", f="dump"))
        ops.append(Op(process=100, type="ok", f="dump", value=dump))
    return History(ops)


def part(*writes: WriteRecord, locks: tuple[LockRecord, ...] = (), **more: Any) -> Part:
    return Part(**{"fresh": True, **more}, writes=writes, locks=locks)


def commit(key: str, start_ts: int, commit_ts: int, value: Any = 1) -> WriteRecord:
    return WriteRecord(key, commit_ts, start_ts, "put", value)


TWO = foot(5, 9, put("a", 1), put("b", 1), primary="a", path="2pc")
"""A transaction of two keys."""
WHOLE = (commit("a", 5, 9), commit("b", 5, 9))
"""What it leaves."""


@pytest.mark.parametrize("seed", range(60))
def test_a_correct_database_keeps_them(seed: int) -> None:
    history, _ = played(recipe(seed, dump=True))
    result = check(history)
    assert result.verdict == VALID, result.summary


def test_all_is_well() -> None:
    replica = part(*WHOLE, applied=7, resolved_ts=20)
    read = foot(10, 0, Step("get", "a", 1, 0, 9))
    timed = msgspec.structs.replace(TWO, prewritten_ns=5, commit_asked_ns=6)
    result = check(told(timed, read, parts=(replica, replica)))
    assert result.verdict == VALID
    assert result.stats["not_seen"] == ["I1"]
    assert all(result.stats[name]["looked_at"] for name in set(NAMES) - {"I1"})


def lock(key: str, start_ts: int, kind: Any = "put", **more: Any) -> LockRecord:
    return LockRecord(key, kind, start_ts, **{"primary": key, "value": 1, **more})


PESSIMISTIC = foot(
    6, 12, put("a", 2), mode="pessimistic", for_update_ts={"a": 10}, primary="a", path="2pc"
)

BROKEN: dict[str, tuple[str, History]] = {
    "two locks": ("I1", told(parts=(part(locks=(lock("a", 5), lock("a", 6))),))),
    "commit before start": ("I2", told(parts=(part(commit("a", 9, 9)),))),
    "one commit timestamp twice": (
        "I2",
        told(parts=(part(commit("a", 5, 9), commit("a", 6, 9)),)),
    ),
    "a writer that saw no conflict": (
        "I2",
        told(
            foot(5, 9, put("a", 1)),
            foot(8, 12, put("a", 2)),
            parts=(part(commit("a", 5, 9), commit("a", 8, 12, 2)),),
        ),
    ),
    "a lock that saw no conflict": (
        "I2",
        told(
            msgspec.structs.replace(PESSIMISTIC, for_update_ts={"a": 8}),
            parts=(part(commit("a", 5, 9), commit("a", 6, 12, 2)),),
        ),
    ),
    "rolled back and committed": (
        "I3",
        told(parts=(part(commit("a", 5, 9), WriteRecord("a", 5, 5, "rollback")),)),
    ),
    "a mark of a rollback": (
        "I3",
        told(
            parts=(
                part(
                    msgspec.structs.replace(commit("a", 3, 5), overlapped_rollback=True),
                    commit("a", 5, 9),
                ),
            )
        ),
    ),
    "secondary without primary": ("I4", told(TWO, parts=(part(commit("b", 5, 9)),), kinds="i")),
    "secondary before primary": (
        "I4",
        told(TWO, parts=(part(commit("b", 5, 9), locks=(lock("a", 5),)),), kinds="i"),
    ),
    "two commit timestamps": (
        "I4",
        told(TWO, parts=(part(commit("a", 5, 9), commit("b", 5, 10)),)),
    ),
    "a put without its value": ("I5", told(parts=(part(commit("a", 5, 9, None)),))),
    "a lock without its value": ("I5", told(parts=(part(locks=(lock("a", 5, value=None),)),))),
    "a snapshot that changed": (
        "I6",
        told(
            foot(10, 0, Step("get", "a", 1, 0, 4)),
            parts=(part(commit("a", 3, 4), commit("a", 5, 9, 2)),),
        ),
    ),
    "commit timestamp before the prewrite": (
        "I7",
        told(msgspec.structs.replace(TWO, prewritten_ns=6000, commit_asked_ns=5000)),
    ),
    "a timestamp that went back": ("I8", told(foot(8), foot(7))),
    "a timestamp twice": ("I8", told(foot(8), foot(8))),
    "acknowledged, and not there": ("I9", told(TWO, parts=(part(),))),
    "async, and one key not there": (
        "I9",
        told(
            msgspec.structs.replace(TWO, path="async"),
            parts=(part(commit("a", 5, 9)),),
        ),
    ),
    "a lock after a pass that resolved": (
        "I10",
        told(parts=(part(locks=(lock("a", 5),), resolved_ts=5),)),
    ),
    "replicas that differ": (
        "I11",
        told(parts=(part(*WHOLE, applied=3), part(WHOLE[0], applied=3, fresh=False))),
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_an_invariant_is_told_by_its_name(what: str) -> None:
    name, history = BROKEN[what]
    result = check(history)
    assert result.verdict == INVALID
    assert {anomaly.kind for anomaly in result.anomalies} == {NAMES[name]}, result.anomalies
    assert f"({name})" in result.summary


LAWFUL: dict[str, History] = {
    "shared locks": told(parts=(part(locks=(lock("a", 5, "shared"), lock("a", 6, "shared"))),)),
    "a start at another's commit": told(
        foot(5, 9, put("a", 1)),
        foot(9, 12, put("a", 2)),
        parts=(part(commit("a", 5, 9), commit("a", 9, 12, 2)),),
    ),
    "a pessimistic transaction's start may overlap": told(
        PESSIMISTIC, parts=(part(commit("a", 5, 9), commit("a", 6, 12, 2)),)
    ),
    "read committed looks for no conflict": told(
        foot(8, 12, put("a", 2), isolation="read-committed"),
        parts=(part(commit("a", 5, 9), commit("a", 8, 12, 2)),),
    ),
    "a secondary's lock": told(
        TWO, parts=(part(commit("a", 5, 9), locks=(lock("b", 5, primary="a"),)),)
    ),
    "an async primary's lock": told(
        msgspec.structs.replace(TWO, path="async"),
        parts=(part(commit("b", 5, 9), locks=(lock("a", 5, async_commit=True),)),),
    ),
    "a primary's region dumped before": told(
        TWO,
        parts=(
            part(locks=(lock("a", 5),), end="b"),
            part(commit("b", 5, 9), start="b", region=2),
        ),
        kinds="i",
    ),
    "collected": told(TWO, parts=(part(safe_point=9),)),
    "a replica behind": told(
        TWO, parts=(part(*WHOLE, applied=3), part(applied=2, fresh=False))
    ),
    "collected on one": told(
        parts=(part(*WHOLE, applied=3, safe_point=4), part(applied=3, safe_point=9))
    ),
    "an idle lock": told(parts=(part(locks=(lock("a", 5),)),)),
    "an old version asked for": told(
        foot(10, 0), foot(5, 0, Step("get", "a", None), version=5)
    ),
}


@pytest.mark.parametrize("what", LAWFUL)
def test_what_is_lawful_is_never_told(what: str) -> None:
    assert check(LAWFUL[what]).verdict == VALID


# --- what dumps mean to the replay ------------------------------------------------------------------


def replay(history: History) -> Result:
    return TimestampChecker().check(history, {}, Budget(20))


def test_a_dump_tells_when_a_transaction_of_unknown_outcome_committed() -> None:
    unsure = foot(5, 0, put("a", 1))
    late = foot(12, 0, Step("get", "a", 1))
    early = foot(8, 0, Step("get", "a", 1))
    for reader, verdict in ((late, VALID), (early, INVALID)):
        assert (
            replay(told(unsure, reader, parts=(part(*WHOLE),), kinds="io")).verdict == verdict
        )
    alone = replay(told(unsure, early, kinds="io"))
    assert (alone.verdict, alone.reason) == (UNKNOWN, "no-evidence")


def test_a_read_tells_when_a_transaction_of_unknown_outcome_committed() -> None:
    unsure = foot(5, 0, put("a", 1), put("b", 2))
    seen = foot(12, 0, Step("get", "a", 1, 0, 9))
    missed = foot(11, 0, Step("get", "b", None))
    assert replay(told(unsure, seen, kinds="io")).verdict == VALID
    result = replay(told(unsure, missed, seen, kinds="ioo"))
    assert {anomaly.kind for anomaly in result.anomalies} == {"stale-read"}


def test_ghosts_and_strangers_of_a_dump() -> None:
    ghost = replay(told(foot(5, 0, put("a", 1)), parts=(part(commit("a", 5, 9)),), kinds="f"))
    assert [anomaly.kind for anomaly in ghost.anomalies] == ["ghost-commit"]
    stranger = told(foot(20, 30, put("a", 1)), parts=(part(commit("a", 5, 9)),))
    assert [anomaly.kind for anomaly in replay(stranger).anomalies] == ["foreign-commit"]


def test_what_tells_no_timestamps_is_not_called_valid() -> None:
    bare = History([Op(process=0, type="invoke", f="txn"), Op(process=0, type="ok", f="txn")])
    assert (replay(bare).verdict, replay(bare).reason) == (UNKNOWN, "no-evidence")
    assert (replay(History()).verdict, replay(History()).reason) == (UNKNOWN, "vacuous")
    silent = told(foot(5, 0, put("a", 1)))
    assert replay(silent).reason == "no-evidence"


def test_other_shapes_are_the_caller_s_mistake() -> None:
    for end in (
        Op(process=0, type="ok", f="txn", ext={"start_ts": "soon"}),
        Op(process=0, type="ok", f="dump", value={"node": 3}),
    ):
        history = History([Op(process=0, type="invoke", f=end.f), end])
        for checker in (TimestampChecker(), InvariantChecker()):
            with pytest.raises(RequestError, match="event 1"):
                checker.check(history, {}, Budget(5))


def test_a_serializable_transaction_may_leave_locks_where_it_only_read() -> None:
    one = foot(5, 9, Step("get", "a", None), put("b", 1), isolation="serializable", primary="b")
    before = foot(3, 0, Step("get", "a", None))
    other = foot(20, 22, put("a", 2), primary="a")
    records = part(WriteRecord("a", 9, 5, "lock"), commit("b", 5, 9), commit("a", 20, 22, 2))
    history = told(before, one, other, parts=(records,))
    assert replay(history).verdict == VALID
    assert check(history).verdict == VALID


def test_an_insert_after_a_delete_of_unknown_outcome_is_open() -> None:
    there = foot(5, 9, put("a", 1))
    unsure = foot(12, 0, Step("delete", "a"))
    insert = foot(20, 25, Step("insert", "a", 2))
    result = replay(told(there, unsure, insert, kinds="oio"))
    assert (result.verdict, result.reason) == (UNKNOWN, "no-evidence")
    refuted = replay(told(there, insert))
    assert [anomaly.kind for anomaly in refuted.anomalies] == ["insert-over-value"]
