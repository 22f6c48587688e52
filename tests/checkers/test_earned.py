"""A verdict of valid is earned: each reason of unknown, and what does not take it away."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from splitbrain.checkers.bands import fault_bands, inside, merge
from splitbrain.checkers.budget import Budget
from splitbrain.checkers.earned import Earned, Expectation
from splitbrain.checkers.verdict import Result
from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS, Op

SECOND = 1_000_000_000
PROVEN = [{"target": "n1", "effective": True, "observed": "process absent"}]


class Script:
    """Writes a history event by event."""

    def __init__(self) -> None:
        self.ops: list[Op] = []

    def add(self, at: float, process: int, type_: str, f: str, **fields: Any) -> None:
        self.ops.append(
            Op(time_ns=int(at * SECOND), process=process, type=type_, f=f, **fields)  # type: ignore[arg-type]
        )

    def call(
        self, at: float, process: int, f: str, type_: str = "ok", error: str | None = None
    ) -> None:
        self.add(at, process, "invoke", f, key=0)
        self.add(at + 0.001, process, type_, f, key=0, value=1, error=error)

    def fault(
        self, at: float, f: str, id_: str, proof: list[Any] | None = None, **value: Any
    ) -> None:
        self.add(at, NEMESIS, "info", f, value={"id": id_, **value})
        self.add(at + 0.1, NEMESIS, "info", f, value={"id": id_, "proof": proof or [], **value})

    def phase(self, at: float, name: str, **more: Any) -> None:
        self.add(at, NEMESIS, "info", "phase", value={"phase": name, **more})

    def history(self) -> History:
        return History(sorted(self.ops, key=lambda op: op.time_ns))


EXPECT = Expectation(
    functions=("read", "write"),
    faults=("kill",),
    recovery_s=3.0,
    concurrency=2,
    nodes=("n1", "n2", "n3"),
)


def good(*, proof: list[Any] | None = None, recovered: tuple[int, ...] = (0, 1)) -> Script:
    """Twenty answered operations, a kill with proof, and a success of each worker at the end."""
    script = Script()
    script.phase(0.0, "main")
    for number in range(10):
        script.call(0.1 + number * 0.1, 0, "read")
        script.call(0.15 + number * 0.1, 1, "write")
    script.fault(
        3.0, "start-kill", "kill-1", PROVEN if proof is None else proof, targets=["n1"]
    )
    script.fault(5.0, "stop-kill", "kill-1")
    script.phase(20.0, "heal")
    script.phase(21.0, "final")
    for worker in recovered:
        script.call(21.5 + worker * 0.1, worker, "read")
    script.phase(30.0, "end")
    return script


def judge(script: Script, expect: Expectation = EXPECT) -> Result:
    return Earned(expect).check(script.history(), {}, Budget())


def test_a_good_run_is_earned() -> None:
    result = judge(good())
    assert (result.verdict, result.reason) == ("valid", None)
    assert result.stats["faults"]["kill"] == {
        "applied": 1,
        "effective": 1,
        "masked": 0,
        "no_effect": 0,
    }


def test_nothing_of_a_kind_succeeded() -> None:
    script = good()
    expect = msgspec.structs.replace(EXPECT, functions=("read", "write", "cas"))
    result = judge(script, expect)
    assert (result.verdict, result.reason) == ("unknown", "vacuous")
    assert "cas" in result.summary


def test_a_fault_without_effect() -> None:
    absent = [{"target": "n1", "effective": False, "observed": "process running"}]
    assert judge(good(proof=absent)).reason == "no-effect"


def test_a_fault_that_never_came() -> None:
    expect = msgspec.structs.replace(EXPECT, faults=("kill", "pause"))
    result = judge(good(), expect)
    assert result.reason == "no-effect"
    assert "pause" in result.summary


def test_a_fault_without_any_proof_is_no_effect() -> None:
    assert judge(good(proof=[{"target": "n1"}])).reason == "no-effect"


def test_masked_applications_do_not_count() -> None:
    script = good()
    masked = [{"target": "n1", "masked": "pause", "observed": "n1 is paused"}]
    for number in range(5):
        script.fault(6.0 + number, "start-kill", f"kill-{number + 2}", masked)
        script.fault(6.5 + number, "stop-kill", f"kill-{number + 2}", masked)
    result = judge(script)
    assert result.verdict == "valid"
    assert result.stats["faults"]["kill"]["masked"] == 5


@pytest.mark.parametrize(("unproven", "reason"), [(1, None), (2, "no-effect")])
def test_at_most_a_fifth_may_lack_proof(unproven: int, reason: str | None) -> None:
    script = good()
    absent = [{"target": "n1", "effective": False}]
    for number in range(5):
        proof = absent if number < unproven else PROVEN
        script.fault(6.0 + number, "start-kill", f"kill-{number + 2}", proof)
        script.fault(6.5 + number, "stop-kill", f"kill-{number + 2}")
    assert judge(script).reason == reason


def test_a_package_is_shown_by_any_of_its_faults() -> None:
    script = good()
    script.fault(7.0, "start-clock-jump", "clock-jump-1", PROVEN)
    expect = msgspec.structs.replace(
        EXPECT, faults=("clock",), packages={"clock-jump": "clock", "clock-drift": "clock"}
    )
    assert judge(script, expect).verdict == "valid"


def test_no_progress_after_the_last_heal() -> None:
    result = judge(good(recovered=(0,)))
    assert (result.verdict, result.reason) == ("unknown", "no-progress")
    assert "worker 1" in result.summary


def test_refusals_outside_bands_are_not_answers() -> None:
    script = good()
    for number in range(5):
        script.call(1.5 + number * 0.1, 0, "read", "fail", "no-leader: n1 refused")
    result = judge(script)
    assert (result.verdict, result.reason) == ("unknown", "refused")


def test_foreseen_answers_are_answers() -> None:
    script = good()
    for number in range(5):
        script.call(1.5 + number * 0.1, 0, "read", "fail", "cas-mismatch: saw 3")
    expect = msgspec.structs.replace(EXPECT, answers=frozenset({"cas-mismatch"}))
    assert judge(script, expect).verdict == "valid"


def test_refusals_inside_a_band_are_forgiven_until_recovery() -> None:
    script = good()
    for number in range(30):
        script.call(3.2 + number * 0.15, 0, "read", "fail", "no-leader")  # until 7.7 < 5.1 + 3
    assert judge(script).verdict == "valid"


@pytest.mark.parametrize("cut", ["no end", "interrupted"])
def test_a_run_that_was_cut_short(cut: str) -> None:
    script = good()
    script.ops.pop()
    if cut == "interrupted":
        script.phase(30.0, "end", interrupted=True)
    assert judge(script).reason == "unfinished"


def test_bands_join_and_recover() -> None:
    script = Script()
    script.fault(1.0, "start-kill", "a")
    script.fault(2.0, "start-partition", "b")
    script.fault(3.0, "stop-kill", "a")
    script.fault(9.0, "start-clock-jump", "c")
    script.add(12.0, NEMESIS, "info", "heal-all")
    script.add(13.0, NEMESIS, "info", "heal-all")
    bands = fault_bands(script.history())
    ends = {band.id: band.end_ns for band in bands}
    assert ends == {
        "a": int(3.1 * SECOND),
        "b": 13 * SECOND,
        "c": int(9.1 * SECOND),
    }
    spans = merge(bands, recovery_ns=SECOND, end_ns=100 * SECOND)
    assert spans == [(1 * SECOND, 14 * SECOND)]
    assert inside(spans, 0, SECOND)
    assert not inside(spans, 0, SECOND - 1)
    assert not inside(spans, 14 * SECOND + 1, 15 * SECOND)


def test_an_id_may_be_used_again() -> None:
    script = good()
    script.fault(6.0, "start-kill", "kill-1", PROVEN)
    for number in range(30):
        script.call(
            3.2 + number * 0.05, 0, "read", "fail", "no-leader"
        )  # in the first one's band
    script.fault(8.0, "stop-kill", "kill-1")
    bands = fault_bands(script.history())
    assert [(band.begin_ns, band.end_ns) for band in bands] == [
        (3 * SECOND, int(5.1 * SECOND)),
        (6 * SECOND, int(8.1 * SECOND)),
    ]
    result = judge(script)
    assert result.verdict == "valid"
    assert result.stats["faults"]["kill"]["effective"] == 2


@pytest.mark.parametrize(
    ("proofs", "reason"),
    [
        ([], "no-effect"),  # never came
        ([[]], None),  # came, and was left without proof
        ([[{"target": "n1", "effective": False}]], "no-effect"),
        ([[{"target": "n1", "effective": False}], PROVEN], None),
        ([[{"target": "n1", "masked": "kill"}]], None),
    ],
)
def test_scheduled_faults_must_come_and_not_be_denied(
    proofs: list[list[Any]], reason: str | None
) -> None:
    script = good()
    for number, proof in enumerate(proofs):
        script.fault(6.0 + number, "start-pause", f"pause-{number}", proof)
        script.fault(6.5 + number, "stop-pause", f"pause-{number}")
    expect = msgspec.structs.replace(EXPECT, scheduled=("pause", "kill"))
    result = judge(script, expect)
    assert result.reason == reason, result.summary
    assert reason is None or "scheduled fault pause" in result.summary


def test_leaders_that_were_hit_or_cut_off_are_counted() -> None:
    script = good()
    value = {"targets": ["n2"], "parameters": {"leader": "n2"}}
    script.fault(6.0, "start-pause", "pause-1", PROVEN, **value)
    script.fault(7.0, "stop-pause", "pause-1")
    cut = [["n1", "n2"], ["n1", "n3"]]
    one_way = {"parameters": {"leader": "n1", "cut": cut}}
    script.fault(8.0, "start-partition", "partition-1", PROVEN, **one_way)
    script.fault(9.0, "stop-partition", "partition-1")
    stats = judge(script).stats
    assert stats["leader_hits"] == 1
    assert stats["leader_cut_off"] == 1


def test_the_rate_is_one_of_the_main_phase_outside_bands() -> None:
    script = Script()
    script.phase(4.0, "main")  # the nodes needed four seconds to come up
    for number in range(60):
        script.call(4.05 + number * 0.1, number % 2, "read" if number % 4 else "write")
    script.fault(10.5, "start-kill", "kill-1", PROVEN, targets=["n1"])
    script.fault(12.0, "stop-kill", "kill-1")
    script.phase(20.0, "heal")
    script.call(21.0, 0, "read")
    script.phase(30.0, "end")
    stats = judge(script).stats
    # 4.0 to 20.0, less 10.5 to 12.1 and 3 s of recovery
    assert stats["seconds_outside_bands"] == pytest.approx(16.0 - 4.6)
    assert stats["rate_outside_bands"] == pytest.approx(60 / 11.4, abs=0.05)


@pytest.mark.parametrize(
    ("start", "stop", "counted"),
    [
        ([True], [], "effective"),
        ([True, None], [], "effective"),
        ([True, "pause"], [], "effective"),
        ([True, False], [True], "no_effect"),
        ([False], [True], "no_effect"),
        ([None], [True], "no_effect"),
        (["pause"], [True], "masked"),
        (["pause"], [False], "masked"),
        ([], [True], "effective"),
        ([], [False], "no_effect"),
        ([], [None], "no_effect"),
        ([], ["kill"], "masked"),
        ([], [], "no_effect"),
    ],
)
def test_what_a_heal_showed_is_no_proof_of_the_fault(
    start: list[Any], stop: list[Any], counted: str
) -> None:
    """Only a fault of chance, whose start observed nothing, is proven by its stop."""

    def proofs(seen: list[Any]) -> list[Any]:
        return [
            {"target": "n1", "masked": one}
            if isinstance(one, str)
            else {"target": "n1"} | ({} if one is None else {"effective": one})
            for one in seen
        ]

    script = good()
    script.fault(7.0, "start-kill", "kill-2", proofs(start), targets=["n1"])
    script.fault(8.0, "stop-kill", "kill-2", proofs(stop))
    stats = judge(script).stats["faults"]["kill"]
    before = {"applied": 1, "effective": 1, "masked": 0, "no_effect": 0}
    assert {name: stats[name] - before[name] for name in before} == {
        "applied": 1,
        "effective": 0,
        "masked": 0,
        "no_effect": 0,
        counted: 1,
    }
