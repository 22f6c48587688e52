"""Faults in words, and how soon clients succeeded again."""

from __future__ import annotations

from typing import Any

import pytest

from splitbrain.contracts.spec import ScheduledFault
from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.bands import (
    Application,
    bands_of,
    describe,
    describe_parameters,
    first_success_ns,
    short,
)

NODES = ("n1", "n2", "n3", "n4", "n5")


def both(*pairs: tuple[str, str]) -> list[list[str]]:
    return [list(pair) for a, b in pairs for pair in ((a, b), (b, a))]


def nemesis(time_ns: int, f: str, value: Any, **more: Any) -> Op:
    return Op(time_ns=time_ns, process=NEMESIS, type="info", f=f, value=value, **more)


def client(time_ns: int, process: int, kind: Any) -> Op:
    return Op(time_ns=time_ns, process=process, type=kind, f="read", key="x")


@pytest.mark.parametrize(
    ("fault", "targets", "parameters", "told"),
    [
        ("kill", ("n2",), {}, "n2 was killed"),
        ("pause", ("n1", "n3"), {}, "n1 and n3 were paused"),
        ("clock-jump", ("n4",), {"delta_ms": 500}, "clock jump on n4"),
        ("admin", (), {}, "admin"),
        ("partition", (), {"cut": both(*[("n2", n) for n in NODES if n != "n2"])},
         "n2 was cut off from the others"),
        ("partition", (), {"cut": both(*[(a, b) for a in ("n1", "n2") for b in ("n3", "n4", "n5")])},
         "n1 and n2 were cut off from the others"),
        ("partition", (), {"cut": both(("n1", "n2"))}, "n1 was cut off from n2"),
        ("partition", (), {"cut": [["n1", "n2"]]}, "nothing passed from n1 to n2"),
        ("partition", (), {"cut": both(("n1", "n2"), ("n3", "n4"))},
         "the links n1\u2013n2 and n3\u2013n4 were cut"),
        ("partition", (), {"cut": [["n2", n] for n in NODES if n != "n2"]},
         "nothing passed from n2 to the others"),
        ("partition", (), {"cut": [[n, "n2"] for n in NODES if n != "n2"]},
         "nothing passed from the others to n2"),
        ("partition", (), {"cut": [["n1", "n2"], ["n2", "n3"]]},
         "the links n1\u2192n2 and n2\u2192n3 were cut"),
        ("partition", (), {"cut": both(*[(a, b) for a in ("n1", "n2") for b in ("n4", "n5")])},
         "n1 and n2 were cut off from n4 and n5"),
        ("partition", ("n1",), {"cut": "nonsense"}, "partition on n1"),
        ("partition", ("n1",), {"cut": [7, None]}, "no link was cut"),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_words(
    fault: str, targets: tuple[str, ...], parameters: dict[str, Any], told: str
) -> None:
    assert (
        describe(Application(fault=fault, targets=targets, parameters=parameters), NODES)
        == told
    )


@pytest.mark.parametrize(
    ("targets", "cut", "told"),
    [
        (("n1", "n2"), None, "n1 n2"),
        ((), both(("n1", "n2"), ("n1", "n3")), "n1"),
        ((), [["n1", "n2"], ["n1", "n3"]], "n1 \u2192"),
        ((), [["n2", "n1"], ["n3", "n1"]], "\u2192 n1"),
        ((), both(("n1", "n2"), ("n3", "n4")), "4 links"),
        ((), "nonsense", ""),
    ],
)
def test_whom_a_fault_hurt_in_few_characters(
    targets: tuple[str, ...], cut: Any, told: str
) -> None:
    assert short(Application(fault="x", targets=targets, parameters={"cut": cut})) == told


def test_the_others_are_only_said_of_all_the_others() -> None:
    band = Application(fault="partition", parameters={"cut": both(("n1", "n2"), ("n1", "n3"))})
    assert describe(band, NODES) == "n1 was cut off from n2 and n3"
    assert describe(band, ("n1", "n2", "n3")) == "n1 was cut off from the others"


def test_parameters_leave_out_the_cut_on_demand() -> None:
    band = Application(fault="x", parameters={"cut": [["a", "b"]], "delay_ms": 5})
    assert describe_parameters(band) == "nothing passed from a to b, delay_ms 5"
    assert describe_parameters(band, cut=False) == "delay_ms 5"


@pytest.mark.parametrize(
    ("proof", "effect"),
    [
        ([], "unproven"),
        ([{"target": "n1"}], "unproven"),
        ([{"target": "n1", "effective": True}], "effective"),
        (
            [{"target": "n1", "effective": True}, {"target": "n2", "effective": False}],
            "no-effect",
        ),
        ([{"target": "n1", "masked": "kill"}], "masked"),
        (
            [{"target": "n1", "masked": "kill"}, {"target": "n2", "effective": True}],
            "effective",
        ),
    ],
)
def test_one_observation_against_a_fault_outweighs_all_for_it(
    proof: list[dict[str, Any]], effect: str
) -> None:
    value = {"id": "a", "targets": ["n1"], "parameters": {}}
    history = History([
        nemesis(10, "start-kill", value),
        nemesis(20, "start-kill", {**value, "proof": proof}),
        nemesis(50, "stop-kill", value),
        nemesis(60, "stop-kill", value),
    ])  # fmt: skip
    (band,) = bands_of(history)
    assert (band.start_ns, band.applied_ns, band.end_ns, band.targets) == (10, 20, 60, ("n1",))
    assert band.effect == effect


def test_a_fault_of_probability_is_proven_at_its_end() -> None:
    value = {"id": "a", "targets": ["n1->n2"]}
    history = History([
        nemesis(10, "start-loss", value),
        nemesis(20, "start-loss", value),
        nemesis(50, "stop-loss", value),
        nemesis(60, "stop-loss", {**value, "proof": [{"target": "n1->n2", "effective": True}]}),
    ])  # fmt: skip
    assert [band.effect for band in bands_of(history)] == ["effective"]


def test_a_fault_that_was_never_healed_lasts_to_the_end() -> None:
    history = History([nemesis(10, "start-kill", {"id": "a"}), client(90, 0, "invoke")])
    (band,) = bands_of(history)
    assert band.end_ns is None
    assert band.until_ns(90) == 90


def test_the_schedule_stands_in_for_a_history_without_nemesis_operations() -> None:
    faults = [
        ScheduledFault(time_ns=5, f="start-pause", targets=("n1",), id="a"),
        ScheduledFault(time_ns=9, f="stop-pause", targets=("n1",), id="a"),
    ]
    (band,) = bands_of([client(0, 0, "invoke")], faults)
    assert (band.fault, band.start_ns, band.end_ns, band.targets) == ("pause", 5, 9, ("n1",))
    own = History([nemesis(1, "start-kill", {"id": "b"})])
    assert [band.fault for band in bands_of(own, faults)] == ["kill"]


def test_a_broken_history_costs_the_bands_and_nothing_else() -> None:
    assert bands_of([client(5, 0, "ok")]) == ()


def test_recovery_counts_only_operations_begun_after_the_heal() -> None:
    history = [
        client(10, 0, "invoke"), client(30, 1, "invoke"),
        client(40, 0, "ok"),  # begun before the heal at 20: proves nothing
        client(50, 1, "ok"), client(60, 0, "invoke"), client(70, 0, "fail"),
    ]  # fmt: skip
    assert first_success_ns(history, [20, 55]) == [50, None]
    assert first_success_ns(history, [55, 5, 20]) == [None, 40, 50]
