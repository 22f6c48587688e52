"""set-full: against Jepsen's definition read event by event, and by hand.

``sound``: processes act on a set in memory, each operation at one moment between its invocation and
its completion.  ``outcomes_of`` reads Jepsen's definition of set-full event by event, asking every
read for every element.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.set_full import SetFullChecker
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Result
from splitbrain.env.random import Random, Stream
from splitbrain.errors import RequestError
from splitbrain.history.history import History
from splitbrain.history.op import Op


def sound(stream: Stream, *, calls: int = 60, processes: int = 5) -> History:
    """A linearizable history of adds and reads; some end unknown, some fail."""
    ops: list[Op] = []
    truth: list[int] = []
    late: list[int] = []
    running: dict[int, list[Any]] = {}
    process_of = list(range(processes))
    begun = fresh = 0

    def emit(op: Op) -> None:
        ops.append(msgspec.structs.replace(op, index=len(ops), time_ns=len(ops) * 1_000_000))

    while begun < calls or running:
        if late and stream.random() < 0.05:
            truth.append(late.pop())
        worker = stream.randrange(processes)
        process = process_of[worker]
        run = running.get(process)
        if run is None:
            if begun == calls:
                continue
            begun += 1
            if stream.random() < 0.5:
                fresh += 1
                op = Op(process=process, type="invoke", f="add", value=fresh)
            else:
                op = Op(process=process, type="invoke", f="read")
            emit(op)
            running[process] = [op, stream.random(), None]
        elif run[2] is None:
            run[2] = _effect(run[0], run[1], truth, late)
        else:
            emit(run[2])
            del running[process]
            if run[2].type == "info":
                process_of[worker] += processes
    return History(ops)


def _effect(op: Op, fate: float, truth: list[int], late: list[int]) -> Op:
    if op.f == "read":
        if fate < 0.1:
            return msgspec.structs.replace(op, type="fail", error="no-leader")
        return msgspec.structs.replace(op, type="ok", value=list(truth))
    if fate < 0.1:
        return msgspec.structs.replace(op, type="fail", error="no-leader")
    if fate < 0.15:
        late.append(op.value)
        return msgspec.structs.replace(op, type="info", error="timeout")
    if fate < 0.2:
        return msgspec.structs.replace(op, type="info", error="timeout")
    truth.append(op.value)
    return msgspec.structs.replace(op, type="ok" if fate > 0.25 else "info")


def reads_of(history: History) -> list[Op]:
    return [op for op in history if op.f == "read" and op.type == "ok"]


def changed(history: History, values: dict[int, list[Any]]) -> History:
    """The history, with other values of some reads, by their completion's index."""
    return History(
        msgspec.structs.replace(op, value=values[op.index]) if op.index in values else op
        for op in history
    )


def scrambled(stream: Stream, history: History) -> History:
    """Some reads lose elements, gain some twice, or gain strangers."""
    adds = [op.value for op in history if op.f == "add" and op.type == "invoke"]
    values: dict[int, list[Any]] = {}
    for op in reads_of(history):
        value = list(op.value)
        if stream.random() < 0.2 and value:
            value.remove(stream.choice(value))
        if stream.random() < 0.05:
            value.append(stream.choice([*adds, 999]))
        values[op.index] = value
    if stream.random() < 0.3 and adds:
        victim = stream.choice(adds)
        least = stream.randrange(len(history))
        values = {
            index: [v for v in value if v != victim or index < least]
            for index, value in values.items()
        }
    return changed(history, values)


# --- the slow checker ------------------------------------------------------------------------------


class Element:
    """Jepsen's SetFullElement."""

    def __init__(self) -> None:
        self.known: Op | None = None
        self.last_present: Op | None = None
        self.last_absent: Op | None = None

    def outcome(self) -> tuple[str, int, int]:
        """(stable, stale, lost or never-read; latency until stable; latency until lost)."""
        known, present, absent = self.known, self.last_present, self.last_absent
        if present is not None and (absent is None or absent.index < present.index):
            assert known is not None
            stable_ns = 0 if absent is None else max(0, absent.time_ns + 1 - known.time_ns)
            stale = absent is not None and absent.index > known.index
            return ("stale" if stale else "stable"), stable_ns, 0
        if (
            known is not None
            and absent is not None
            and (present is None or present.index < absent.index)
            and known.index < absent.index
        ):
            lost_ns = 0 if present is None else max(0, present.time_ns + 1 - known.time_ns)
            return "lost", 0, lost_ns
        return "never-read", 0, 0


def outcomes_of(history: History) -> dict[Any, tuple[str, int, int]]:
    """The outcome of every element, event by event."""
    elements: dict[Any, Element] = {}
    for op in history:
        if op.f == "add" and op.type == "invoke":
            elements.setdefault(op.value, Element())
        elif op.f == "add" and op.type == "ok":
            element = elements[op.value]
            element.known = element.known or op
        elif op.f == "read" and op.type == "ok":
            invoke = history.at(history.invocation(op.index))  # type: ignore[arg-type]
            for name, element in elements.items():
                if name in op.value:
                    element.known = element.known or op
                    if (
                        element.last_present is None
                        or element.last_present.index < invoke.index
                    ):
                        element.last_present = invoke
                elif element.last_absent is None or element.last_absent.index < invoke.index:
                    element.last_absent = invoke
    return {name: element.outcome() for name, element in elements.items()}


def oddities_of(history: History) -> tuple[dict[Any, int], set[Any]]:
    """Elements held too often, with the greatest number; elements that nobody can have added."""
    duplicated: dict[Any, int] = {}
    phantoms: set[Any] = set()
    for read in reads_of(history):
        for name, count in Counter(read.value).items():
            tried = [
                (invoke, completion)
                for invoke, completion in history.invocations()
                if invoke.f == "add" and invoke.value == name and invoke.index < read.index
            ]
            possible = [c for _, c in tried if c is None or c.type != "fail"]
            if not possible:
                phantoms.add(name)
            if tried and count > max(1, len(possible)):
                duplicated[name] = max(count, duplicated.get(name, 0))
    return duplicated, phantoms


def check(history: History, **options: Any) -> Result:
    return SetFullChecker().check(history, options, Budget(20))


def check_agreement(history: History) -> None:
    """The fast checker says what the slow one says, element by element."""
    outcomes = outcomes_of(history)
    duplicated, phantoms = oddities_of(history)
    stats = check(history).stats
    named = {"stable": set(), "stale": set(), "lost": set(), "never-read": set()}  # type: ignore[var-annotated]
    for name, (outcome, _, _) in outcomes.items():
        named[outcome].add(name)
    assert set(stats["lost"]) == named["lost"]
    assert set(stats["stale"]) == named["stale"]
    assert set(stats["never_read"]) == named["never-read"]
    assert stats["stable_count"] == len(named["stable"]) + len(named["stale"])
    assert dict(stats["duplicated"]) == duplicated
    assert set(stats["phantoms"]) == phantoms
    for which, place in (("stable", 1), ("lost", 2)):
        kinds = ("stable", "stale") if which == "stable" else ("lost",)
        longest = [one[place] for one in outcomes.values() if one[0] in kinds]
        told = stats[f"{which}_latencies_s"]
        assert (told or {}).get("1") == (round(max(longest) / 1e9, 6) if longest else None)


@pytest.mark.parametrize("seed", range(150))
def test_sound_histories_are_valid_and_agree(seed: int) -> None:
    stream = Random(seed).stream("set")
    history = sound(
        stream, calls=stream.choice((10, 60, 150)), processes=stream.choice((2, 5, 9))
    )
    check_agreement(history)
    result = check(history, linearizable=True)
    assert result.verdict == (VALID if result.stats["stable_count"] else UNKNOWN), (
        result.summary
    )


@pytest.mark.parametrize("seed", range(300))
def test_broken_histories_agree(seed: int) -> None:
    stream = Random(seed).stream("broken-set")
    history = scrambled(stream, sound(stream, calls=stream.choice((20, 80))))
    check_agreement(history)
    bad = {"lost", "duplicated", "phantom"}
    result = check(history)
    counts = {name: result.stats[f"{name}_count"] for name in bad}
    assert (result.verdict == INVALID) == any(counts.values())
    strict = check(history, linearizable=True)
    assert (strict.verdict == INVALID) == bool(
        any(counts.values()) or result.stats["stale_count"]
    )
    assert bool(strict.anomalies) == (strict.verdict == INVALID)


@pytest.mark.parametrize("seed", range(60))
def test_an_element_taken_from_all_later_reads_is_lost(seed: int) -> None:
    """By construction: known, and no read that begins later sees it."""
    stream = Random(seed).stream("lost")
    history = sound(stream, calls=80)
    known = [op for op in history if op.f == "add" and op.type == "ok"]
    reads = [(op, history.invocation(op.index)) for op in reads_of(history)]
    victims = [op for op in known if any(begun > op.index for _, begun in reads)]  # type: ignore[operator]
    assert victims, "these seeds all have an add acknowledged before a read"
    victim = stream.choice(victims)
    values = {op.index: [v for v in op.value if v != victim.value] for op, _ in reads}
    result = check(changed(history, values))
    assert result.verdict == INVALID
    assert [a.kind for a in result.anomalies] == ["lost-element"]
    assert victim.index in result.anomalies[0].ops
    assert result.stats["lost"] == [victim.value]


# --- by hand ---------------------------------------------------------------------------------------


def told(*events: tuple[int, str, str, Any], error: str | None = None) -> History:
    """Events (process, type, f, value), a second apart."""
    return History(
        Op(
            process=process, type=kind, f=f, value=value, time_ns=n * 10**9,  # type: ignore[arg-type]
            error=error if kind == "fail" else None,
        )
        for n, (process, kind, f, value) in enumerate(events)
    )  # fmt: skip


def read(process: int, value: Any) -> tuple[tuple[int, str, str, Any], ...]:
    return (process, "invoke", "read", None), (process, "ok", "read", value)


def add(process: int, value: Any, kind: str = "ok") -> tuple[tuple[int, str, str, Any], ...]:
    return (process, "invoke", "add", value), (process, kind, "add", value)


def test_a_lost_element_is_told_with_its_operations() -> None:
    result = check(
        told(*add(0, 17), *read(1, [17]), *add(3, 18), *read(2, [18]), *read(1, [18]))
    )
    assert result.verdict == INVALID
    (anomaly,) = result.anomalies
    assert anomaly.kind == "lost-element"
    assert anomaly.explanation == (
        "the add of 17 by process 0 was acknowledged at 1.000 s, yet the read by process 2, which "
        "began later at 6.000 s, did not find it, nor did the one read after it; last seen "
        "by process 1 at 3.000 s"
    )
    assert anomaly.ops == (0, 1, 2, 3, 6, 7, 8, 9)
    assert anomaly.picture == {"op": 7}
    assert result.stats["lost_latencies_s"]["1"] == pytest.approx(1.0)


def test_an_element_of_unknown_outcome_that_was_seen_can_be_lost() -> None:
    result = check(told(*add(0, 17, "info"), *read(1, [17]), *read(2, [])))
    assert [a.kind for a in result.anomalies] == ["lost-element"]
    assert "17 was seen by process 1, whose read ended at 3.000 s" in result.summary


def test_a_stale_element_breaks_only_a_linearizable_set() -> None:
    history = told(*add(0, 17), *read(1, None), *read(2, [17]))
    result = check(history)
    assert (result.verdict, result.stats["stale"]) == (VALID, [17])
    assert result.stats["worst_stale"] == [{"element": 17, "key": None, "latency_s": 1.0}]
    strict = check(history, linearizable=True)
    assert strict.verdict == INVALID
    assert [(a.kind, a.ops) for a in strict.anomalies] == [
        ("stale-element", (0, 1, 2, 3, 4, 5))
    ]


def test_a_read_that_overlaps_the_add_may_miss_it() -> None:
    history = told(
        (1, "invoke", "read", None), *add(0, 17), (1, "ok", "read", []), *read(2, [17])
    )
    result = check(history, linearizable=True)
    assert (result.verdict, result.stats["stale_count"]) == (VALID, 0)


def test_duplicates_and_phantoms() -> None:
    result = check(told(*add(0, 1), *read(1, [1, 1]), *read(1, [1, 2])))
    assert [a.kind for a in result.anomalies] == ["duplicate-element", "phantom-element"]
    assert "holds 1 2 times, though its add was tried once" in result.anomalies[0].explanation
    assert "holds 2, which nobody ever tried to add" in result.anomalies[1].explanation


def test_a_failed_add_that_is_seen_is_a_phantom() -> None:
    result = check(told(*add(0, 1, "fail"), *read(1, [1]), error="no-leader: n1"))
    (anomaly,) = result.anomalies
    assert anomaly.kind == "phantom-element"
    assert "certainly failed at 1.000 s (no-leader: n1)" in anomaly.explanation
    again = check(told(*add(0, 1, "fail"), *add(0, 1), *read(1, [1])))
    assert again.verdict == VALID


def test_an_element_before_its_add_is_a_phantom() -> None:
    result = check(told(*read(1, [1]), *add(0, 1), *read(1, [1])))
    assert "whose add began only later, at 2.000 s" in result.anomalies[0].explanation


def test_sets_by_key_are_judged_apart() -> None:
    ops = []
    for key, value in (("a", [1]), ("b", [])):
        for f, kind, told_value in (("add", "ok", 1), ("read", "ok", value)):
            ops.append(
                Op(process=0, type="invoke", f=f, key=key, value=1 if f == "add" else None)
            )
            ops.append(Op(process=0, type=kind, f=f, key=key, value=told_value))  # type: ignore[arg-type]
    result = check(History(ops))
    assert [(a.kind, a.key) for a in result.anomalies] == [("lost-element", "b")]
    assert result.anomalies[0].explanation.startswith('key "b": the add of 1')


def test_values_of_every_kind() -> None:
    values = [[1, 2], {"a": [True]}, "x", 1, True, None, 2.5]
    ops = [event for value in values for event in add(0, value)]
    result = check(told(*ops, *read(1, values), *read(1, values[:-1])))
    assert result.stats["attempt_count"] == 7
    assert result.stats["lost"] == [2.5]


def test_nothing_seen_is_no_test() -> None:
    for history in (told(), told(*add(0, 1)), told(*read(0, []))):
        assert (check(history).verdict, check(history).reason) == (UNKNOWN, "vacuous")


def test_the_budget_is_obeyed() -> None:
    history = told(*add(0, 1), *read(1, [1]))
    result = SetFullChecker().check(history, {}, Budget(0.0))
    assert (result.verdict, result.reason, result.undecided) == (
        UNKNOWN,
        "budget",
        ("the set",),
    )


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([(0, "invoke", "write", 1)], "event 0: a set has no function 'write'"),
        (list(read(0, 5)), "event 1: a read of a set returns a list, not 5"),
    ],
)
def test_what_is_no_history_of_a_set_is_refused(events: list[Any], problem: str) -> None:
    with pytest.raises(RequestError, match=problem):
        check(told(*events))


def test_many_elements_in_little_time() -> None:
    """Two million elements read; asking each read for each element would take far longer."""
    ops: list[Any] = []
    for value in range(2000):
        ops += [*add(0, value), *read(1, list(range(value + 1)))]
    history = told(*ops)
    budget = Budget(10)
    result = SetFullChecker(linearizable=True).check(history, {}, budget)
    assert result.verdict == VALID
    assert not budget.exceeded()
