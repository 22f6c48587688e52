"""Convergence: against a look at every pair of settled reads, and by hand."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import msgspec
import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.convergence import ConvergenceChecker
from splitbrain.checkers.linearizable.synthetic import Shape, synthetic
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Result
from splitbrain.env.random import Random, Stream
from splitbrain.history.history import History
from splitbrain.history.op import Op

SHAPE = Shape(calls=25, processes=4, crash=0.15, refuse=0.05)


def check(history: History, settle_s: float = 0.0) -> Result:
    return ConvergenceChecker(settle_s=settle_s).check(history, {}, Budget(10))


def with_final_reads(stream: Stream, history: History, *, astray: float) -> History:
    """Reads of the key by several nodes at the end, some of what the key once held."""
    values = [op.value for op in history if op.f == "write" and op.type == "invoke"]
    truth = next(
        (op.value for op in reversed(history) if op.f == "read" and op.type == "ok"), None
    )
    ops = list(history)
    running: dict[int, Op] = {}
    base = 1 + max((op.process for op in history), default=0)
    left = 20
    while left or running:
        process = base + stream.randrange(8)
        if process in running:
            value = stream.choice([None, *values]) if stream.random() < astray else truth
            ops.append(msgspec.structs.replace(running.pop(process), type="ok", value=value))
        elif left:
            left -= 1
            op = Op(process=process, type="invoke", f="read", key="k0", node=f"n{process % 2}")
            running[process] = op
            ops.append(op)
    return History(
        msgspec.structs.replace(op, index=n, time_ns=n * 1_000_000) for n, op in enumerate(ops)
    )


def by_definition(history: History, settle_s: float) -> bool | None:
    """Whether some pair of settled reads diverges; None if there is no pair of different nodes."""
    calls = list(history.invocations())
    writes = [(i, c) for i, c in calls if i.f == "write"]
    done = [c for _, c in writes if c is not None and c.type == "ok"]
    unknown = {i.value for i, c in writes if c is None or c.type == "info"}
    quiet_ns = max((c.time_ns for c in done), default=-1)
    reads = [
        (i, c)
        for i, c in calls
        if i.f == "read"
        and c is not None
        and c.type == "ok"
        and all(i.index > w.index for w in done)
        and i.time_ns >= quiet_ns + settle_s * 1e9
    ]

    def place(op: Op) -> Any:
        return op.node or op.process

    def explained(one: tuple[Op, Op], other: tuple[Op, Op]) -> bool:
        """``one`` saw a write of unknown outcome, which may have come after ``other``."""
        return one[1].value in unknown and not other[0].index > one[1].index

    pairs = [(a, b) for a, b in combinations(reads, 2) if place(a[0]) != place(b[0])]
    if not pairs:
        return None
    return any(
        a[1].value != b[1].value and not explained(a, b) and not explained(b, a)
        for a, b in pairs
    )


@pytest.mark.parametrize("seed", range(100))
def test_an_atomic_register_has_converged(seed: int) -> None:
    """Its own reads at the end: more calls of the same register, by processes that stand for nodes."""
    stream = Random(seed).stream("converged")
    history = synthetic(
        stream, msgspec.structs.replace(SHAPE, functions=("read", "read", "write"))
    )
    assert check(history).verdict != INVALID


@pytest.mark.parametrize("seed", range(300))
def test_as_a_look_at_every_pair(seed: int) -> None:
    stream = Random(seed).stream("final-reads")
    astray = stream.choice((0.0, 0.1, 0.6))
    shape = msgspec.structs.replace(SHAPE, calls=stream.choice((3, 25)), crash=stream.random())
    history = with_final_reads(stream, synthetic(stream, shape), astray=astray)
    settle_s = stream.choice((0.0, 0.01, 0.02, 1.0))
    diverged = by_definition(history, settle_s)
    expected = {None: UNKNOWN, True: INVALID, False: VALID}[diverged]
    result = check(history, settle_s)
    assert result.verdict == expected, result.summary
    assert [a.kind for a in result.anomalies] == (["divergence"] if diverged else [])
    assert result.stats["compared"] == (diverged is not None)


def told(*events: tuple[int, str, str, Any], faults: bool = False) -> History:
    """Events (process, type, f, value), a second apart; process p is bound to node n<p>."""
    ops = [
        Op(process=process, type=kind, f=f, key=3, value=value, node=f"n{process}")  # type: ignore[arg-type]
        for process, kind, f, value in events
    ]
    if faults:
        fault = {"id": "kill-1", "fault": "kill"}
        for f in ("start-kill", "start-kill", "stop-kill", "stop-kill"):
            ops.append(Op(process=-1, type="info", f=f, value=fault))
    return History(msgspec.structs.replace(op, time_ns=n * 10**9) for n, op in enumerate(ops))


def write(process: int, value: Any, kind: str = "ok") -> tuple[tuple[int, str, str, Any], ...]:
    return (process, "invoke", "write", value), (process, kind, "write", value)


def read(process: int, value: Any) -> tuple[tuple[int, str, str, Any], ...]:
    return (process, "invoke", "read", None), (process, "ok", "read", value)


def test_a_divergence_is_told_with_both_answers() -> None:
    result = check(told(*write(0, 1), *write(0, 2), *read(1, 2), *read(2, 1)))
    (anomaly,) = result.anomalies
    assert (anomaly.kind, anomaly.key, anomaly.ops) == ("divergence", 3, (3, 4, 5, 6, 7))
    assert anomaly.explanation == (
        "key 3: node n1 told process 1 2 at 5.000 s, but node n2 told process 2 1 at 7.000 s, although "
        "its last acknowledged write had ended, and the last fault was healed, by 3.000 s"
    )
    assert anomaly.picture is not None
    assert anomaly.picture["answers"] == {"n1": "2", "n2": "1"}
    assert result.stats["diverged_keys"] == [3]


def test_one_node_that_contradicts_itself_is_not_compared() -> None:
    result = check(told(*write(0, 1), *read(1, 1), *read(1, None)))
    assert (result.verdict, result.reason) == (UNKNOWN, "vacuous")


def test_a_write_of_unknown_outcome_may_come_late_but_not_go_again() -> None:
    late = told(*write(0, 1), *write(1, 5, "info"), *read(2, 1), *read(3, 5))
    assert check(late).verdict == VALID
    gone = told(*write(0, 1), *write(1, 5, "info"), *read(2, 5), *read(3, 1))
    assert check(gone).verdict == INVALID


def test_time_to_settle_is_given_and_measured() -> None:
    history = told(*write(0, 1), *write(0, 2), *read(1, 1), *read(2, 2), *read(1, 2))
    assert check(history).verdict == INVALID
    later = check(history, settle_s=2.5)
    assert later.verdict == VALID
    assert later.stats["slowest_s"] == 2.0


def test_reads_before_the_last_heal_do_not_count() -> None:
    history = told(*write(0, 1), *read(1, 1), *read(2, None), faults=True)
    assert check(history).verdict == UNKNOWN
    assert check(told(*write(0, 1), *read(1, 1), *read(2, None))).verdict == INVALID


def test_a_history_without_times_is_judged_by_its_order() -> None:
    ops = [*write(0, 1), *read(1, 1), *read(2, None)]
    early = [*read(3, None), *write(0, 1), *read(1, 1), *read(2, 1)]
    for events, verdict in ((ops, INVALID), (early, VALID)):
        timeless = History(
            Op(process=process, type=kind, f=f, key=3, value=value, node=f"n{process}")  # type: ignore[arg-type]
            for process, kind, f, value in events
        )
        assert check(timeless).verdict == verdict


def test_deletes_and_swaps_are_writes() -> None:
    history = told(
        *write(0, 1), (0, "invoke", "delete", None), (0, "info", "delete", None),
        (1, "invoke", "cas", [1, 4]), (1, "info", "cas", [1, 4]),
        *read(2, 1), *read(3, 4), *read(4, None),
    )  # fmt: skip
    assert check(history).verdict == VALID
