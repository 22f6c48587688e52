"""Outages and recoveries: against a scan that says the definitions out loud, and by hand."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import Any

import pytest

from splitbrain.checkers.availability import FAULTS_MAX, AvailabilityChecker
from splitbrain.checkers.budget import Budget
from splitbrain.env.random import Random, Stream
from splitbrain.history.history import History
from splitbrain.history.op import Op

SECOND = 1_000_000_000


class Script:
    """Events by their time in ms; the history is in the order of times, completions first."""

    def __init__(self) -> None:
        self.events: list[tuple[int, int, Op]] = []
        self.processes = 0

    def _add(self, ms: int, rank: int, op: Op) -> None:
        self.events.append((ms, rank, op))

    def call(self, begin: int, end: int | None, kind: str = "ok", node: str = "n1") -> None:
        process, self.processes = self.processes, self.processes + 1
        named: dict[str, Any] = {"process": process, "f": "read", "node": node}
        self._add(begin, 1, Op(type="invoke", time_ns=begin * 1_000_000, **named))
        if end is not None:
            self._add(end, 2, Op(type=kind, time_ns=end * 1_000_000, **named))  # type: ignore[arg-type]

    def nemesis(self, ms: int, f: str, value: Any) -> None:
        self._add(ms, 0, Op(process=-1, type="info", f=f, value=value, time_ns=ms * 1_000_000))

    def fault(self, number: int, begin: int, end: int | None, fault: str = "kill") -> None:
        value = {"id": f"{fault}-{number}", "fault": fault, "targets": ["n1"]}
        self.nemesis(begin, f"start-{fault}", value)
        self.nemesis(begin, f"start-{fault}", value)
        if end is not None:
            self.nemesis(end, f"stop-{fault}", value)
            self.nemesis(end, f"stop-{fault}", value)

    def phases(self, main: int, heal: int, final: int, end: int) -> None:
        for name, ms in (("main", main), ("heal", heal), ("final", final), ("end", end)):
            self.nemesis(ms, "phase", {"phase": name})

    def stats(self) -> dict[str, Any]:
        ordered = sorted(self.events, key=lambda event: event[:2])
        history = History(op for _, _, op in ordered)
        result = AvailabilityChecker().check(history, {}, Budget(5))
        assert result.verdict == "valid"
        return dict(result.stats)


def test_a_quiet_run_is_always_available() -> None:
    script = Script()
    script.phases(1000, 6000, 6100, 7000)
    for ms in range(1000, 7000, 100):
        script.call(ms, ms + 20)
    stats = script.stats()
    assert stats["availability"] == 1.0
    assert stats["outage_s"] == 0.1
    assert stats["recovery_s"] is None
    assert stats["faults"] == []


def test_an_outage_and_a_recovery() -> None:
    script = Script()
    script.phases(0, 10_000, 10_200, 11_000)
    for ms in [*range(0, 3000, 100), *range(6500, 10_000, 100)]:
        script.call(ms, ms + 10)
    script.call(3050, 6300)  # begun under the fault: an end of the outage, no proof of recovery
    script.call(3100, 3200, "fail")
    script.fault(1, 3000, 6000)
    stats = script.stats()
    assert stats["outage_s"] == round(6.3 - 2.91, 3)
    assert stats["outage_at_s"] == 2.91
    assert stats["recovery_s"] == stats["median_recovery_s"] == 0.51
    assert stats["availability"] == 0.7  # nothing ended in the seconds 3, 4 and 5
    (fault,) = stats["faults"]
    assert fault == {
        "id": "kill-1", "fault": "kill", "targets": ["n1"], "start_s": 3.0, "stop_s": 6.0,
        "outage_s": 3.3, "recovery_s": 0.51,
    }  # fmt: skip


def test_a_heal_that_leaves_another_fault_says_nothing_of_the_whole() -> None:
    script = Script()
    script.phases(0, 10_000, 10_000, 12_000)
    script.fault(1, 1000, 3000)
    script.fault(2, 2000, 8000, "partition")
    script.call(0, 100)
    script.call(8100, 8200)
    stats = script.stats()
    assert [fault["recovery_s"] for fault in stats["faults"]] == [5.2, 0.2]
    assert stats["recovery_s"] == 0.2


def test_the_time_of_healing_is_cut_out() -> None:
    script = Script()
    script.phases(0, 5000, 9000, 12_000)
    script.fault(1, 4000, 6000)
    script.call(3900, 4000)
    script.call(9100, 9250)
    stats = script.stats()
    assert stats["recovery_s"] == 0.25
    assert stats["faults"][0]["stop_s"] == 6.0
    assert stats["faults"][0]["outage_s"] == 1.25


def test_a_system_that_never_came_back_has_an_outage_to_the_end() -> None:
    script = Script()
    script.phases(0, 5000, 5000, 35_000)
    script.fault(1, 2000, 5000)
    script.call(900, 1000)
    script.call(6000, None)
    stats = script.stats()
    assert stats["outage_s"] == 34.0
    assert stats["recovery_s"] == 30.0
    assert stats["unrecovered"] == 1
    assert stats["faults"][0]["recovery_s"] is None


def test_nothing_at_all() -> None:
    stats = Script().stats()
    assert stats["availability"] is None
    assert (stats["outage_s"], stats["faults"], stats["nodes"]) == (0.0, [], {})


def test_each_node_has_its_own_figures() -> None:
    script = Script()
    script.phases(0, 4000, 4000, 4000)
    for ms in range(0, 4000, 500):
        script.call(ms, ms + 1, node="n1")
        script.call(ms, ms + 1, "ok" if ms < 2000 else "fail", node="n2")
    nodes = script.stats()["nodes"]
    assert nodes["n1"] == {"availability": 1.0, "outage_s": 0.5, "asked": 8, "ok": 8}
    assert nodes["n2"] == {"availability": 0.5, "outage_s": 2.499, "asked": 8, "ok": 4}


def test_faults_are_capped() -> None:
    script = Script()
    for number in range(FAULTS_MAX + 50):
        script.fault(number, number * 10, number * 10 + 5)
    assert len(script.stats()["faults"]) == FAULTS_MAX


# --- the same by a scan ---------------------------------------------------------------------------


def drawn(stream: Stream) -> tuple[Script, dict[str, Any]]:
    """A random script, and what it is made of."""
    main = stream.choice((0, 700))
    heal = main + stream.randrange(0, 9000)
    final = heal + stream.randrange(0, 3000)
    end = final + stream.randrange(0, 4000)
    script = Script()
    script.phases(main, heal, final, end)
    calls, faults = [], []
    for _ in range(stream.randrange(40)):
        begin = stream.randrange(main, heal + 1)
        if stream.random() < 0.3:
            begin = stream.randrange(final, end + 1)
        last = heal if begin <= heal else end
        done = stream.randint(begin, last) if stream.random() < 0.9 else None
        kind = stream.choice(("ok", "ok", "fail", "info"))
        script.call(begin, done, kind)
        if done is not None and kind == "ok":
            calls.append((begin, done))
    step = stream.choice(
        (1, 300)
    )  # with the greater one faults begin and end at the same moment
    for number in range(stream.randrange(6)):
        begin = main + (stream.randrange(main, heal + 1) - main) // step * step
        stops = [begin + stream.randint(0, final - begin) // step * step for _ in range(5)]
        stop = stream.choice((None, *stops))
        fault = stream.choice(("kill", "clock-jump"))
        stop = begin if fault == "clock-jump" else stop
        script.fault(number, begin, None if fault == "clock-jump" else stop, fault)
        faults.append((begin, stop, fault))
    given = {"main": main, "heal": heal, "final": final, "end": end}
    return script, {**given, "calls": calls, "faults": sorted(faults, key=lambda f: f[0])}


def on_axis(given: dict[str, Any], ms: int) -> int:
    healing = max(0, min(ms, given["final"]) - given["heal"])
    return ms - healing


def widest(moments: list[int], begin: int, end: int) -> int:
    inside = [begin, *sorted(m for m in moments if begin <= m <= end), max(begin, end)]
    return max(b - a for a, b in pairwise(inside))


def scanned(given: dict[str, Any]) -> dict[str, Any]:
    """The figures straight from their definitions."""
    calls = [(on_axis(given, b), on_axis(given, e)) for b, e in given["calls"]]
    done = [e for _, e in calls]
    main, heal, end = given["main"], given["heal"], on_axis(given, given["end"])
    seconds = (heal - main) // 1000
    hit = [
        any(main + 1000 * k <= e < main + 1000 * (k + 1) for e in done) for k in range(seconds)
    ]
    rows, recoveries, unrecovered = [], [], 0
    for begin, stop, fault in given["faults"]:
        healed = None if stop is None else on_axis(given, stop)
        later = [e for b, e in calls if healed is not None and b >= healed]
        back = min(later, default=None)
        outage = widest(done, on_axis(given, begin), end if back is None else back)
        own = None if back is None or healed is None or fault == "clock-jump" else back - healed
        rows.append((outage, own))
        others = [
            f for f in given["faults"]
            if stop is not None and f[0] < stop and (f[1] is None or f[1] > stop)
        ]  # fmt: skip
        if healed is not None and fault != "clock-jump" and not others:
            recoveries.append(end - healed if own is None else own)
            unrecovered += own is None
    until = min([e for e in done if e >= heal], default=end)
    return {
        "availability": round(sum(hit) / seconds, 4) if seconds else None,
        "outage_s": widest(done, main, until) / 1000,
        "recovery_s": max(recoveries) / 1000 if recoveries else None,
        "median_recovery_s": round(median(recoveries) / 1000, 3) if recoveries else None,
        "unrecovered": unrecovered,
        "faults": [(o / 1000, None if r is None else r / 1000) for o, r in rows],
    }


@pytest.mark.parametrize("seed", range(300))
def test_as_a_scan_finds_it(seed: int) -> None:
    script, given = drawn(Random(seed).stream("availability"))
    expected, stats = scanned(given), script.stats()
    faults = sorted(
        ((f["start_s"], f["outage_s"], f["recovery_s"]) for f in stats.pop("faults")), key=repr
    )
    wanted = sorted(
        (
            (f[0] / 1000, *row)
            for f, row in zip(given["faults"], expected.pop("faults"), strict=True)
        ),
        key=repr,
    )
    assert {name: stats[name] for name in expected} == pytest.approx(expected, abs=2e-3)
    assert faults == wanted
