"""Staleness: against the definition asked of every pair of writes for every read, and by hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.checkers.linearizable.synthetic import Shape, synthetic
from splitbrain.checkers.staleness import StalenessChecker, stale_reads
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Result
from splitbrain.env.random import Random, Stream
from splitbrain.errors import RequestError
from splitbrain.history.history import History
from splitbrain.history.op import Op

SHAPE = Shape(calls=60, processes=5, crash=0.1, refuse=0.1)


def check(history: History, **options: Any) -> Result:
    return StalenessChecker().check(history, options, Budget(10))


def lagging(stream: Stream, history: History) -> History:
    """Some reads see what had been there some reads ago."""
    seen: list[Any] = [None]
    ops = []
    for op in history:
        if op.f == "read" and op.type == "ok":
            seen.append(op.value)
            if stream.random() < 0.3:
                op = msgspec.structs.replace(
                    op, value=seen[-min(len(seen), stream.choice((2, 4)))]
                )
        ops.append(op)
    return History(ops)


def by_definition(history: History) -> dict[int, int]:
    """Index of each stale read's end -> its age in ns; no algorithm, only the words."""
    calls = [(i, c) for i, c in history.invocations() if c is None or c.type != "fail"]
    reads = [(i, c) for i, c in calls if i.f == "read" and c is not None and c.type == "ok"]
    writes = [(i, c) for i, c in calls if i.f == "write"]

    def effective(invoke: Op, end: Op | None) -> int | None:
        moments = [
            c.index for _, c in reads if c.value == invoke.value and c.index > invoke.index
        ]
        if end is not None and end.type == "ok":
            moments.append(end.index)
        return min(moments, default=None)

    ages: dict[int, int] = {}
    for begun, end in reads:
        before: int | None = -1
        for invoke, ended in writes:
            if invoke.value == end.value:
                before = effective(invoke, ended)
        overwriters = [
            effective(invoke, ended)
            for invoke, ended in writes
            if before is not None
            and invoke.index > before
            and effective(invoke, ended) is not None
        ]
        moment = min((m for m in overwriters if m is not None), default=None)
        if moment is not None and moment < begun.index:
            ages[end.index] = max(0, begun.time_ns - history.at(moment).time_ns)
    return ages


@pytest.mark.parametrize("seed", range(150))
def test_an_atomic_register_is_never_stale(seed: int) -> None:
    result = check(synthetic(Random(seed).stream("fresh"), SHAPE), **{"staleness-bound": 0})
    assert (result.verdict, result.stats["stale"]) == (VALID, 0)
    assert result.stats["reads"] > 5


@pytest.mark.parametrize("seed", range(200))
def test_as_the_definition_says(seed: int) -> None:
    stream = Random(seed).stream("lagging")
    history = lagging(stream, synthetic(stream, SHAPE))
    (part,) = history.by_key().values()
    found = {one.end.index: one.age_ns for one in stale_reads("k0", part, history)}
    assert found == by_definition(history)
    worst = max(found.values(), default=0)
    assert check(history).stats["worst_s"] == round(worst / 1e9, 6)
    assert check(history, **{"staleness-bound": worst / 1e9}).verdict == VALID
    if worst:
        assert check(history, **{"staleness-bound": (worst - 1) / 1e9}).verdict == INVALID
    if found:
        assert LinearizableChecker("register").check(history, {}, Budget(10)).verdict == INVALID


def told(*events: tuple[int, str, str, Any]) -> History:
    """Events (process, type, f, value) of key 3, a second apart; process p is bound to node n<p>."""
    return History(
        Op(
            process=process, type=kind, f=f, key=3, value=value, node=f"n{process}",  # type: ignore[arg-type]
            time_ns=n * 10**9,
        )
        for n, (process, kind, f, value) in enumerate(events)
    )  # fmt: skip


def write(process: int, value: Any, kind: str = "ok") -> tuple[tuple[int, str, str, Any], ...]:
    return (process, "invoke", "write", value), (process, kind, "write", value)


def read(process: int, value: Any) -> tuple[tuple[int, str, str, Any], ...]:
    return (process, "invoke", "read", None), (process, "ok", "read", value)


STALE = told(*write(0, 1), *write(0, 2), *read(1, 2), *read(2, 1))


def test_a_stale_read_within_its_bound_is_a_figure() -> None:
    result = check(STALE, **{"staleness-bound": 3})
    assert result.verdict == VALID
    assert result.stats["ages_s"] == {"0.5": 3.0, "0.95": 3.0, "0.99": 3.0, "1": 3.0}
    assert result.stats["stale_share"] == 0.5
    assert result.stats["nodes"] == {
        "n1": {"reads": 1, "stale": 0, "worst_s": 0.0},
        "n2": {"reads": 1, "stale": 1, "worst_s": 3.0},
    }
    assert result.summary == "1 of 2 reads were stale, by at most 3.000 s"


def test_a_stale_read_beyond_its_bound_is_told() -> None:
    result = check(STALE, **{"staleness-bound": 2.5})
    (anomaly,) = result.anomalies
    assert (result.verdict, anomaly.kind, anomaly.key) == (INVALID, "stale-beyond-bound", 3)
    assert anomaly.ops == (2, 3, 6, 7)
    assert anomaly.explanation == (
        "key 3: the read by process 2 at 6.000 s saw 1, which 2, written by process 0, had overwritten "
        "by 3.000 s: 3.000 s before, 2.5 s are allowed"
    )


def test_the_initial_value_grows_old_too() -> None:
    assert check(told(*write(0, 1), *read(1, None))).stats["worst_s"] == 1.0


def test_a_write_of_unknown_outcome_overwrites_once_it_was_seen() -> None:
    unseen = told(*write(0, 1), *write(1, 2, "info"), *read(2, 1))
    assert check(unseen).stats["stale"] == 0
    seen = told(*write(0, 1), *write(1, 2, "info"), *read(2, 2), *read(2, 1))
    assert check(seen).stats["worst_s"] == 1.0


def test_values_from_nowhere_are_wrong_under_any_promise() -> None:
    for events, why in (
        ((*write(0, 1), *read(1, 9)), "which nobody ever tried to write"),
        ((*write(0, 1, "fail"), *read(1, 1)), "whose every write had certainly failed"),
        ((*read(1, 1), *write(0, 1)), "whose write began only later"),
    ):
        result = check(told(*events))
        assert [a.kind for a in result.anomalies] == ["phantom-value"]
        assert why in result.summary


def test_a_value_written_twice_is_not_judged() -> None:
    history = told(*write(0, 1), *write(0, 2), *write(0, 1), *read(1, 1), *read(1, 2))
    result = check(history)
    assert (result.stats["ambiguous"], result.stats["stale"]) == (1, 0)


def test_budget_and_functions() -> None:
    assert StalenessChecker().check(STALE, {}, Budget(0.0)).verdict == UNKNOWN
    with pytest.raises(
        RequestError, match="event 0: staleness is measured of reads and writes"
    ):
        check(told((0, "invoke", "cas", [1, 2])))
