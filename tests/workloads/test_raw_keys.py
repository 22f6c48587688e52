"""set, unique-ids and kv: what their generators and clients promise, run without a cluster."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Workload
from splitbrain.env.random import Stream
from splitbrain.errors import Definite, HarnessError, RequestError, Undetermined
from splitbrain.harness.generator import clients, limit, simulate
from splitbrain.history.history import History
from splitbrain.history.op import Op
from splitbrain.options import check_options
from splitbrain.workloads.by_cas import change
from splitbrain.workloads.final import FinalReadsByAll
from splitbrain.workloads.kv import kv
from splitbrain.workloads.register import register
from splitbrain.workloads.set import set_workload
from splitbrain.workloads.unique_ids import unique_ids

MAKERS: dict[str, Callable[[TestSpec], Workload]] = {
    "set": set_workload,
    "unique-ids": unique_ids,
    "kv": kv,
}


def made(name: str, **options: Any) -> Workload:
    return MAKERS[name](TestSpec(workload=name, options=options))


class Session:
    """A Kv session over a dict; ``meddle`` runs before each compare-and-swap."""

    def __init__(self, meddle: Callable[[dict[str, Any]], None] = lambda data: None) -> None:
        self.data: dict[str, Any] = {}
        self.meddle = meddle
        self.swaps = 0
        self.closed = False

    async def get(self, key: str) -> Any:
        return self.data.get(key)

    async def put(self, key: str, value: Any) -> None:
        self.data[key] = value

    async def delete(self, key: str) -> None:
        self.data.pop(key, None)

    async def cas(self, key: str, old: Any, new: Any) -> None:
        self.swaps += 1
        self.meddle(self.data)
        if self.data.get(key) != old:
            raise Definite("cas-mismatch", observed=self.data.get(key))
        self.data[key] = new

    async def close(self) -> None:
        self.closed = True


def do(workload: Workload, session: Session, *ops: tuple[str, Any]) -> list[Any]:
    """The results of operations on key 7, one after another."""

    async def opened(node: str) -> Session:
        return session

    async def main() -> list[Any]:
        client = await workload.client(opened).open("n1")
        await client.setup()
        seen = []
        for f, value in ops:
            op = Op(process=0, type="invoke", f=f, key=7, value=value)
            seen.append((await client.invoke(op)).value)
        await client.close()
        return seen

    return asyncio.run(main())


def played(workload: Workload, *, ops: int = 3000, seed: int = 1) -> History:
    """The workload against a dict that does each operation at once, with some mismatches."""
    data: dict[Any, Any] = {}

    def completion(op: Op, draws: Stream) -> tuple[int, Op]:
        held = data.get(op.key)
        end = msgspec.structs.replace(op, type="ok")
        if op.f == "read":
            end = msgspec.structs.replace(op, type="ok", value=held)
        elif op.f == "add":
            data[op.key] = [*(held or []), op.value]
        elif op.f == "generate":
            data[op.key] = (held or 0) + 1
            end = msgspec.structs.replace(op, type="ok", value=data[op.key])
        elif op.f == "append":
            data[op.key] = (held or "") + op.value
        elif op.f == "cas" and op.value[0] != held:
            error = {"error": "cas-mismatch", "ext": {"observed": held}}
            end = msgspec.structs.replace(op, type="fail", **error)
        else:
            data[op.key] = {"write": op.value, "delete": None, "cas": None}[op.f]
            if op.f == "cas":
                data[op.key] = op.value[1]
        return 0, end

    return History(
        simulate(
            clients(limit(ops, workload.generator)),
            completion=completion,
            concurrency=5,
            seed=seed,
            max_ops=10 * ops,
        )
    )


# --- what all three promise ------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
def test_an_atomic_store_is_valid_and_nothing_is_vacuous(name: str) -> None:
    workload = made(name)
    history = played(workload)
    assert {op.f for op in history if op.type == "ok"} == set(workload.functions)
    (checker,) = workload.checkers.values()
    result = checker.check(history, {}, Budget(20))
    assert result.verdict == "valid", result.summary


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_seed_draws_the_same_operations(name: str) -> None:
    assert played(made(name), ops=300) == played(made(name), ops=300)
    if name != "unique-ids":
        assert played(made(name), ops=300) != played(made(name), ops=300, seed=2)


@pytest.mark.parametrize("name", MAKERS)
def test_an_operation_of_another_workload_is_a_mistake(name: str) -> None:
    with pytest.raises(HarnessError, match="'frobnicate'"):
        do(made(name), Session(), ("frobnicate", 1))
    unopened = made(name).client(lambda node: None)
    with pytest.raises(HarnessError, match="not opened"):
        asyncio.run(unopened.invoke(Op(process=0, type="invoke", f="read")))


# --- changes by compare-and-swap -------------------------------------------------------------------


def increment(session: Session, *, tries: int = 5) -> Any:
    return asyncio.run(change(session, "k", lambda seen: (seen or 0) + 1, tries=tries))  # type: ignore[arg-type]


def test_a_change_that_others_are_faster_than_is_tried_again() -> None:
    def faster(data: dict[str, Any]) -> None:
        if session.swaps < 3:
            data["k"] = 10 * session.swaps

    session = Session(faster)
    assert increment(session) == 21
    assert session.swaps == 3


def test_a_change_that_is_always_too_late_says_so_and_changes_nothing() -> None:
    def faster(data: dict[str, Any]) -> None:
        data["k"] = 100 + session.swaps

    session = Session(faster)
    with pytest.raises(Definite) as refused:
        increment(session, tries=4)
    assert (refused.value.code, session.swaps, session.data) == ("contended", 4, {"k": 104})


def test_a_change_of_unknown_outcome_is_not_repeated() -> None:
    def lost(data: dict[str, Any]) -> None:
        raise Undetermined("timeout")

    session = Session(lost)
    with pytest.raises(Undetermined):
        increment(session)
    assert session.swaps == 1


def test_a_refusal_is_passed_on() -> None:
    def refused(data: dict[str, Any]) -> None:
        raise Definite("no-leader")

    session = Session(refused)
    with pytest.raises(Definite, match="no-leader"):
        increment(session)
    assert session.swaps == 1


# --- each of them ----------------------------------------------------------------------------------


def test_a_set_is_a_list_that_grows() -> None:
    session = Session()
    seen = do(made("set"), session, ("read", None), ("add", 1), ("add", 2), ("read", None))
    assert seen == [[], 1, 2, [1, 2]]
    assert session.closed


def test_every_element_is_added_once() -> None:
    added = [op.value for op in played(made("set")) if op.f == "add" and op.type == "invoke"]
    assert len(added) > 1500
    assert len(set(added)) == len(added)


def test_ids_are_the_values_of_counters_that_share_none() -> None:
    session = Session()

    async def opened(node: str) -> Session:
        return session

    async def main() -> list[int]:
        client = await made("unique-ids", keys=3).client(opened).open("n1")
        ops = [Op(index=i, process=0, type="invoke", f="generate") for i in (0, 1, 5, 3, 0, 4)]
        return [(await client.invoke(op)).value for op in ops]

    assert asyncio.run(main()) == [0, 1, 2, 3, 6, 4]
    assert session.data == {"ids-0": 6, "ids-1": 4, "ids-2": 2}


def test_kv_operations() -> None:
    session = Session()
    seen = do(
        made("kv"), session, ("append", "+1"), ("read", None), ("write", "w2"), ("append", "+3"),
        ("read", None), ("cas", ["w2+3", "c4"]), ("delete", None), ("read", None),
    )  # fmt: skip
    assert seen == ["+1", "+1", "w2", "+3", "w2+3", ["w2+3", "c4"], None, None]
    with pytest.raises(Definite, match="cas-mismatch"):
        do(made("kv"), session, ("cas", ["w2", "c5"]))


def test_a_cas_asks_for_what_was_last_seen_and_so_mostly_succeeds() -> None:
    ends = Counter(op.type for op in played(made("kv")) if op.f == "cas")
    assert ends["ok"] > 5 * ends["fail"] > 0 or ends["fail"] == 0
    assert ends["ok"] > 200


def test_every_change_brings_a_text_of_its_own() -> None:
    texts = [
        op.value[1] if op.f == "cas" else op.value
        for op in played(made("kv"))
        if op.type == "invoke" and op.f in ("write", "cas", "append")
    ]
    assert len(set(texts)) == len(texts) > 1000


# --- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("promise", "checkers"),
    [
        ("linearizable", {"linearizable"}),
        ("bounded-staleness", {"staleness", "convergence"}),
        ("eventual", {"staleness", "convergence"}),
    ],
)
def test_the_promise_chooses_what_is_judged(promise: str, checkers: set[str]) -> None:
    workload = register(TestSpec(workload="register", options={"promise": promise}))
    assert set(workload.checkers) == checkers
    assert isinstance(workload.final_generator, FinalReadsByAll) == (len(checkers) > 1)


def test_a_bound_belongs_to_bounded_staleness() -> None:
    stale = History(
        Op(process=p, type=kind, f=f, key=0, value=value, time_ns=n * 10**9)  # type: ignore[arg-type]
        for n, (p, kind, f, value) in enumerate(
            [(0, "invoke", "write", 1), (0, "ok", "write", 1), (1, "invoke", "read", None),
             (1, "ok", "read", None)]
        )
    )  # fmt: skip
    for promise, verdict in (("bounded-staleness", "invalid"), ("eventual", "valid")):
        options = {"promise": promise, "staleness-bound": 0.5}
        checker = register(TestSpec(workload="register", options=options)).checkers["staleness"]
        assert checker.check(stale, {}, Budget(5)).verdict == verdict


@pytest.mark.parametrize(("linearizable", "verdict"), [(True, "invalid"), (False, "valid")])
def test_a_set_may_be_asked_for_less(linearizable: bool, verdict: str) -> None:
    history = History(
        Op(process=p, type=kind, f=f, key=0, value=value)  # type: ignore[arg-type]
        for p, kind, f, value in [
            (0, "invoke", "add", 1), (0, "ok", "add", 1), (1, "invoke", "read", None),
            (1, "ok", "read", []), (1, "invoke", "read", None), (1, "ok", "read", [1]),
        ]
    )  # fmt: skip
    checker = made("set", linearizable=linearizable).checkers["set"]
    assert checker.check(history, {}, Budget(5)).verdict == verdict


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("promise", "eventuall", "one of linearizable, bounded-staleness, eventual is needed"),
        ("promise", True, "one of linearizable, bounded-staleness, eventual is needed"),
        ("linearizable", 1, "one of true, false is needed"),
        ("tries", 0, "a whole number from 1"),
        ("staleness-bound", -1, "a number from 0"),
        ("converge-seconds", "soon", "a number from 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, value: Any, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        check_options({name: value})


# --- final reads -----------------------------------------------------------------------------------


def final_reads(ends: Callable[[Op, int], str], **fields: Any) -> list[Op]:
    """Final reads of three keys by four workers; ``ends`` says how the n-th of a pair ends."""
    asked: Counter[tuple[int, int]] = Counter()

    def completion(op: Op, draws: Stream) -> tuple[int, Op]:
        asked[op.process % 4, op.key] += 1
        kind = ends(op, asked[op.process % 4, op.key])
        return 1000, msgspec.structs.replace(op, type=kind)

    generator = FinalReadsByAll(keys=3, **fields)
    return simulate(clients(generator), completion=completion, concurrency=4, seed=1)


def test_every_worker_reads_every_key() -> None:
    history = final_reads(lambda op, n: "ok")
    reads = Counter((op.process, op.key) for op in history if op.type == "ok")
    assert reads == {(p, k): 1 for p in range(4) for k in range(3)}


@pytest.mark.parametrize("kind", ["fail", "info"])
def test_a_read_that_came_to_nothing_is_asked_again_by_the_same_worker(kind: str) -> None:
    history = final_reads(lambda op, n: kind if n == 1 and op.key == 1 else "ok")
    reads = Counter((op.process % 4, op.key) for op in history if op.type == "ok")
    assert reads == {(p, k): 1 for p in range(4) for k in range(3)}
    assert sum(op.type == kind for op in history) == 4


def test_a_dead_system_ends_it() -> None:
    assert sum(op.type == "fail" for op in final_reads(lambda op, n: "fail", retries=50)) == 62


def test_it_waits_after_the_last_event() -> None:
    history = final_reads(lambda op, n: "ok", wait_ns=2_000_000_000, last_ns=5_000_000_000)
    assert min(op.time_ns for op in history) == 7_000_000_000


def test_it_learns_keys_and_times_from_events() -> None:
    generator: Any = FinalReadsByAll()
    for time_ns, key in ((5, 0), (9, 3), (7, None)):
        event = Op(process=0, type="ok", f="add", key=key, value=1, time_ns=time_ns)
        generator = generator.update({}, None, event)
    assert (generator.keys, generator.last_ns) == (4, 9)
