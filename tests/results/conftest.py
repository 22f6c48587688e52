"""Sample runs for the report: made by a small model of a cluster, the same for the same seed.

The model keeps one register a key.  Each operation takes effect at one moment between its invocation
and its completion, so the history is linearizable; the invalid samples then change one observation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import pytest

from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.contracts.spec import TestSpec
from splitbrain.env.random import Random, Stream
from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.report import ReportData

from .browser import launched

NODES = ("n1", "n2", "n3", "n4", "n5")
SECOND = 1_000_000_000


class Fault(msgspec.Struct, frozen=True):
    start_ns: int
    end_ns: int
    kind: str
    node: str
    leader: bool


class Call(msgspec.Struct):
    """One operation before it becomes events."""

    start_ns: int
    act_ns: int
    end_ns: int
    process: int
    f: str
    key: str
    value: Any
    node: str
    outcome: str
    error: str | None = None
    seen: Any = None


def schedule(stream: Stream, seconds: int, kinds: tuple[str, ...]) -> list[Fault]:
    faults, at_s, leader = [], 3.0, "n1"
    while kinds and at_s < seconds - 7:
        kind = kinds[len(faults) % len(kinds)]
        hit = stream.random() < 0.6
        node = leader if hit else stream.choice([n for n in NODES if n != leader])
        length_s = 1.5 + 2 * stream.random()
        faults.append(
            Fault(
                int(at_s * SECOND), int((at_s + length_s) * SECOND), kind, node, node == leader
            )
        )
        if hit:
            leader = stream.choice([n for n in NODES if n != leader])
        at_s += length_s + 1.5 + 1.5 * stream.random()
    return faults


def events_of(faults: list[Fault]) -> list[dict[str, Any]]:
    """The leaders' own words: a new term a second after each loss of a leader."""
    events = [{"time_ns": 0, "node": node, "kind": "start"} for node in NODES]
    leader, term = "n1", 1
    events.append({"time_ns": 250_000_000, "node": leader, "kind": "leader", "term": term})
    for place, fault in enumerate(faults):
        if not fault.leader:
            continue
        term += 1
        after = next((f.node for f in faults[place + 1 :] if f.leader), "n3")
        elected_ns = fault.start_ns + 1_150_000_000
        events.append(
            {
                "time_ns": elected_ns - 90_000_000,
                "node": after,
                "kind": "candidate",
                "term": term,
            }
        )
        events.append({"time_ns": elected_ns, "node": after, "kind": "leader", "term": term})
        if after != leader:
            events.append(
                {"time_ns": fault.end_ns, "node": leader, "kind": "follower", "term": term}
            )
        leader = after
    return sorted(events, key=lambda event: event["time_ns"])


def calls_of(
    stream: Stream, faults: list[Fault], seconds: int, rate_hz: float, workers: int, keys: int
) -> list[Call]:
    calls: list[Call] = []
    for worker in range(workers):
        process, at_ns = worker, int(stream.random() * 3e8)
        while at_ns < seconds * SECOND:
            node = NODES[worker % len(NODES)]
            held = [f for f in faults if f.start_ns <= at_ns <= f.end_ns]
            electing = any(f.leader and at_ns - f.start_ns < 1.2 * SECOND for f in held)
            latency_ns = int(stream.lognormvariate(15.0, 0.55))
            f = stream.choice(["read", "read", "write", "cas"])
            key = str(stream.randrange(keys))
            value: Any = None if f == "read" else stream.randrange(1, 1000)
            value = [stream.randrange(1, 9), value % 8 + 1] if f == "cas" else value
            value = value % 8 + 1 if f == "write" else value
            outcome, error = "ok", None
            if electing and stream.random() < 0.85:
                outcome, error = (
                    ("info", "timeout") if stream.random() < 0.3 else ("fail", "no-leader")
                )
                latency_ns = 2 * SECOND if outcome == "info" else latency_ns * 20
            elif any(f.node == node for f in held):
                latency_ns *= 8
            end_ns = at_ns + latency_ns
            act_ns = at_ns + int(latency_ns * (0.1 + 0.8 * stream.random()))
            calls.append(
                Call(at_ns, act_ns, end_ns, process, f, key, value, node, outcome, error)
            )
            if outcome == "info":
                process += workers
            at_ns = end_ns + int(stream.expovariate(rate_hz / workers) * SECOND)
    return calls


def apply(calls: list[Call], stream: Stream) -> None:
    state: dict[str, Any] = {}
    for call in sorted(calls, key=lambda call: call.act_ns):
        if call.outcome == "fail" or (call.outcome == "info" and stream.random() < 0.5):
            continue
        if call.f == "read":
            call.seen = state.get(call.key)
        elif call.f == "write":
            state[call.key] = call.seen = call.value
        elif state.get(call.key) == call.value[0]:
            state[call.key], call.seen = call.value[1], call.value
        elif call.outcome == "ok":
            call.outcome, call.error = "fail", "cas-mismatch"


def nemesis_ops(faults: list[Fault]) -> list[Op]:
    ops = []
    for number, fault in enumerate(faults):
        others = [n for n in NODES if n != fault.node]
        both = [[fault.node, n] for n in others] + [[n, fault.node] for n in others]
        value: dict[str, Any] = {
            "id": f"{fault.kind}-{number}",
            "fault": fault.kind,
            "targets": [fault.node],
            "parameters": {"cut": both} if fault.kind == "partition" else {},
        }
        saw = {"partition": "no byte in 0.5 s", "kill": "process absent", "pause": "state T"}
        observed = saw.get(fault.kind, "seen")
        proof = [{"target": fault.node, "effective": True, "observed": observed}]
        if number % 9 == 8:
            proof = [
                {"target": fault.node, "masked": "kill", "observed": f"{fault.node} is killed"}
            ]
        for verb, at_ns in (("start", fault.start_ns), ("stop", fault.end_ns)):
            f = f"{verb}-{fault.kind}"
            ops.append(Op(time_ns=at_ns, process=NEMESIS, type="info", f=f, value=value))
            done = {**value, "proof": proof} if verb == "start" else value
            ops.append(
                Op(time_ns=at_ns + 60_000_000, process=NEMESIS, type="info", f=f, value=done)
            )
    return ops


def history_of(calls: list[Call], faults: list[Fault]) -> History:
    events = [(op.time_ns, 0, op) for op in nemesis_ops(faults)]
    for place, call in enumerate(calls):
        base = {"process": call.process, "f": call.f, "key": call.key, "node": call.node}
        begin = Op(type="invoke", value=call.value, time_ns=call.start_ns, **base)
        seen = call.seen if call.outcome == "ok" else call.value
        end = Op(type=call.outcome, value=seen, error=call.error, time_ns=call.end_ns, **base)  # type: ignore[arg-type]
        events += [(call.start_ns, 2 * place + 1, begin), (call.end_ns, 2 * place + 2, end)]
    return History(op for _, _, op in sorted(events, key=lambda event: event[:2]))


class Sample:
    """A finished run of the model, and the data of its report."""

    def __init__(
        self,
        *,
        seed: int = 7,
        seconds: int = 60,
        rate_hz: float = 100,
        kinds: tuple[str, ...] = ("partition", "kill", "pause"),
        workers: int = 10,
        keys: int = 20,
    ) -> None:
        stream = Random(seed).stream("report-sample")
        self.faults = schedule(stream, seconds, kinds)
        self.calls = calls_of(stream, self.faults, seconds, rate_hz, workers, keys)
        apply(self.calls, stream)
        self.history = history_of(self.calls, self.faults)
        self.spec = TestSpec(
            workload="cas-register", seed=seed, time_limit_s=seconds, nemesis=kinds,
            concurrency=workers, rate_hz=rate_hz, options={"scale": 0.333},
        )  # fmt: skip

    def earned(self, **change: Any) -> Result:
        faults: dict[str, dict[str, int]] = {}
        for number, fault in enumerate(self.faults):
            row = faults.setdefault(
                fault.kind, {"applied": 0, "effective": 0, "masked": 0, "no_effect": 0}
            )
            row["applied"] += 1
            row["masked" if number % 9 == 8 else "effective"] += 1
        stats = {
            "asked_outside_bands": 2103, "answered_share": 0.9971, "rate_outside_bands": 88.4,
            "faults": faults, "leader_hits": 6, "leader_cut_off": 4,
            "thresholds": {"answered_share": 0.9, "unproven_share": 0.2, "recovery_s": 3.0},
        }  # fmt: skip
        result = Result(
            verdict="valid",
            summary="earned: 99.7% of operations outside fault bands were answered",
            stats=stats,
        )
        return msgspec.structs.replace(result, **change)

    def linear(self, **change: Any) -> Result:
        result = Result(
            verdict="valid", summary="every one of 20 keys is linearizable", kernel="zones",
            stats={"keys": 20, "operations": len(self.calls), "states": 18_204},
            assumed=("initial value null",),
        )  # fmt: skip
        return msgspec.structs.replace(result, **change)

    def data(self, result: Result, history: Any = None, **change: Any) -> ReportData:
        facts: dict[str, Any] = {
            "command": "splitbrain run cas-register --on local --nemesis partition,kill,pause "
            f"--seed {self.spec.seed}",
            "run": "store/cas-register/20261125T014233",
            "times": {"election_timeout": 1.0, "heartbeat": 0.333, "lease": 0.667},
            "version": "0.1.0",
            "host": "Linux 6.1, 2 cores",
            "duration_s": 64.2,
        }
        facts.update(change.pop("facts", {}))
        base: dict[str, Any] = {
            "result": result,
            "spec": self.spec,
            "history": self.history if history is None else history,
            "events": events_of(self.faults),
            "log_tails": {n: [f"I 00:00:5{i} raft applied {i}" for i in range(9)] for n in NODES},
            "legend": {
                "start-partition": "links cut", "start-kill": "node killed",
                "start-pause": "node paused",
            },
            "facts": facts,
        }  # fmt: skip
        return ReportData(**{**base, **change})


def compose(summary: str = "", **parts: Result) -> Result:
    rank = {"valid": 0, "unknown": 1, "invalid": 2}
    first = max(parts.values(), key=lambda part: rank[part.verdict])
    return Result(
        verdict=first.verdict,
        summary=summary or first.summary,
        reason=first.reason,
        checkers=parts,
    )


def valid() -> ReportData:
    sample = Sample()
    summary = "every one of 20 keys is linearizable"
    return sample.data(compose(summary, linear=sample.linear(), earned=sample.earned()))


def stale_read(**options: Any) -> ReportData:
    """One read in a partition of the leader returns the value before the last write."""
    sample = Sample(**options)
    cuts = [f for f in sample.faults if f.kind == "partition" and f.leader]
    cut = cuts[len(cuts) // 2]
    writes: dict[str, list[Call]] = {}
    for call in sorted(sample.calls, key=lambda call: call.end_ns):
        if call.f == "write" and call.outcome == "ok" and call.end_ns < cut.end_ns:
            writes.setdefault(call.key, []).append(call)
    read = next(
        c
        for c in sorted(sample.calls, key=lambda call: call.start_ns)
        if c.f == "read" and c.outcome == "ok" and c.node == cut.node
        and c.start_ns > cut.start_ns + SECOND // 4
        and len([w for w in writes.get(c.key, ()) if w.end_ns < c.start_ns]) > 1
    )  # fmt: skip
    before = [w for w in writes[read.key] if w.end_ns < read.start_ns]
    old, new = before[-2], before[-1]
    read.seen = old.value
    history = history_of(sample.calls, sample.faults)

    def at(call: Call) -> int:
        return next(
            op.index for op in history
            if op.process == call.process and op.time_ns == call.end_ns and op.type == "ok"
        )  # fmt: skip

    ops = tuple(sorted(at(call) for call in (old, new, read)))
    anomaly = Anomaly(
        kind="stale-read",
        key=read.key,
        ops=ops,
        explanation=(
            f"process {read.process} read {old.value} at {read.end_ns / 1e9:.2f} s although "
            f"process {new.process} had written {new.value} by {new.end_ns / 1e9:.2f} s. "
            f"The read began {(read.start_ns - new.end_ns) / 1e6:.0f} ms after that write was "
            "acknowledged, so in every order that respects real time it must see it or a later one."
        ),
        picture={
            "op": at(read),
            "states": [{"state": new.value, "why": "after the last acknowledged write"}],
            "impossible": [
                {"op": at(read), "what": f"read {old.value}", "state": new.value,
                 "why": f"a read of {old.value} needs the register to hold {old.value}"}
            ],
        },
    )  # fmt: skip
    linear = sample.linear(
        verdict="invalid", summary=f"key {read.key} is not linearizable", anomalies=(anomaly,),
        kernel="wgl",
    )  # fmt: skip
    return sample.data(compose(linear=linear, earned=sample.earned()), history)


def lost_write() -> ReportData:
    """Two anomalies, under a fault outside the model."""
    data = stale_read(seed=11)
    linear = data.result.checkers["linear"]
    found = linear.anomalies[0]
    other = msgspec.structs.replace(
        found, kind="lost-write",
        explanation=f"key {found.key}: the acknowledged write was never seen again", picture=None,
    )  # fmt: skip
    linear = msgspec.structs.replace(linear, anomalies=(other, found))
    return msgspec.structs.replace(
        data,
        result=compose(linear=linear, earned=data.result.checkers["earned"]),
        facts={**data.facts, "outside": ["clock-drift"]},
    )


def node_crash() -> ReportData:
    sample = Sample(kinds=("kill",), seconds=25)
    log = [
        "I append 4810..4822",
        "E commit 4822 is beyond the last index 4819",
        "panic: core assertion",
    ]
    crash = Op(
        time_ns=12_300_000_000, process=NEMESIS, type="info", f="node-crash",
        value={"node": "n4", "reason": "core assertion failed", "log": log},
    )  # fmt: skip
    ops = sorted([*sample.history, crash], key=lambda op: op.time_ns)
    history = History(msgspec.structs.replace(op, index=i) for i, op in enumerate(ops))
    index = next(op.index for op in history if op.f == "node-crash")
    anomaly = Anomaly(
        kind="node-crash", ops=(index,), picture={"node": "n4", "log": log},
        explanation="n4 ended at 12.30 s without the nemesis: core assertion failed",
    )  # fmt: skip
    crashes = Result(verdict="invalid", summary="n4 crashed", anomalies=(anomaly,))
    result = compose(crashes=crashes, linear=sample.linear(), earned=sample.earned())
    return sample.data(result, history)


def unknown() -> ReportData:
    sample = Sample(kinds=("kill",), seconds=20)
    earned = sample.earned(
        verdict="unknown", reason="no-progress",
        summary="after the last heal no operation of worker 3, 8 succeeded",
    )  # fmt: skip
    linear = sample.linear(
        verdict="unknown", reason="budget", summary="18 of 20 keys are linearizable, 2 undecided",
        undecided=("key 3: 60 s spent", "key 12: 60 s spent"),
    )  # fmt: skip
    return sample.data(compose(earned=earned, linear=linear))


def empty() -> ReportData:
    return ReportData(result=Result(verdict="unknown", summary="", reason="vacuous"))


SAMPLES: Mapping[str, Callable[[], ReportData]] = {
    "valid": valid, "stale-read": stale_read, "lost-write": lost_write, "node-crash": node_crash,
    "unknown": unknown, "empty": empty,
}  # fmt: skip


@pytest.fixture(scope="session")
def sample() -> Callable[[str], ReportData]:
    """A sample run by name, each made once."""
    made: dict[str, ReportData] = {}

    def get(name: str) -> ReportData:
        if name not in made:
            made[name] = SAMPLES[name]()
        return made[name]

    return get


@pytest.fixture(scope="session")
def make_sample() -> type[Sample]:
    """The model itself, for samples of other sizes."""
    return Sample


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless browser for the tests of one module."""
    yield from launched()
