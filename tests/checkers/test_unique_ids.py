"""unique-ids: against a count of every pair, and by hand."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import msgspec
import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.unique_ids import UniqueIdsChecker
from splitbrain.checkers.verdict import INVALID, VALID, Result
from splitbrain.env.random import Random
from splitbrain.errors import RequestError
from splitbrain.history.history import History
from splitbrain.history.op import Op


def check(history: History) -> Result:
    return UniqueIdsChecker().check(history, {}, Budget(5))


def given(*ids: Any, kind: str = "ok") -> list[Op]:
    ops = []
    for number, value in enumerate(ids):
        named: dict[str, Any] = {"process": number, "f": "generate"}
        ops.append(Op(type="invoke", time_ns=2 * number * 10**9, **named))
        ops.append(Op(type=kind, value=value, time_ns=(2 * number + 1) * 10**9, **named))  # type: ignore[arg-type]
    return ops


@pytest.mark.parametrize("seed", range(100))
def test_as_a_count_of_all_pairs(seed: int) -> None:
    stream = Random(seed).stream("ids")
    ids = [stream.randrange(stream.choice((20, 1000))) for _ in range(stream.randrange(40))]
    ops = given(*ids)
    kinds = [stream.choice(("ok", "ok", "ok", "fail", "info")) for _ in ids]
    history = History(
        op if op.type == "invoke" else msgspec.structs.replace(op, type=kinds[op.process])
        for op in ops
    )
    acknowledged = [i for i, kind in zip(ids, kinds, strict=True) if kind == "ok"]
    twice = {a for a, b in combinations(acknowledged, 2) if a == b}
    result = check(history)
    assert result.verdict == (INVALID if twice else VALID)
    assert {value for value, _ in result.stats["duplicated"]} == twice
    assert dict(map(tuple, result.stats["duplicated"])) == {
        i: acknowledged.count(i) for i in twice
    }
    assert result.stats["acknowledged_count"] == len(acknowledged)
    assert result.stats["attempted_count"] == len(ids)
    assert len(result.anomalies) == len(twice)


def test_a_duplicate_is_told_with_its_operations() -> None:
    result = check(History(given(4, 7, 7)))
    (anomaly,) = result.anomalies
    assert anomaly.kind == "duplicate-id"
    assert anomaly.ops == (2, 3, 4, 5)
    assert anomaly.explanation == (
        "the id 7 was given to process 1 at 3.000 s and to process 2 at 5.000 s"
    )
    assert result.stats["range"] == [4, 7]


def test_what_was_not_acknowledged_is_nobody_s() -> None:
    result = check(History([*given(7), Op(process=5, type="invoke", f="generate"),
                            Op(process=5, type="info", f="generate", value=7)]))  # fmt: skip
    assert result.verdict == VALID


def test_ids_of_other_kinds() -> None:
    assert check(History(given("a", ["n1", 1], ["n1", 1]))).stats["duplicated"] == [
        [["n1", 1], 2]
    ]
    assert check(History(given("b", "a"))).stats["range"] == ["a", "b"]
    assert check(History(given(True, 1))).verdict == VALID
    assert check(History()).summary == "0 ids, no two alike"


def test_another_function_is_refused() -> None:
    with pytest.raises(RequestError, match="event 0: unique-ids has no function 'read'"):
        check(History([Op(process=0, type="invoke", f="read")]))
