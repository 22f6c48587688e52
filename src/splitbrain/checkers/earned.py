"""Was the run a test at all?  A verdict of *valid* has to be earned.

A run in which nothing succeeded, no fault took effect, or the system never came back has shown
nothing, and is ``unknown`` with the reason:

- ``vacuous``: a kind of operation never succeeded;
- ``refused``: outside fault bands fewer than 90 % of the operations were answered;
- ``no-effect``: a kind of fault asked for was never shown effective, or more than a fifth of its
  unmasked applications lack proof; or one of a schedule never came, or was seen to be without effect;
- ``no-progress``: after the last heal some worker had no success in the time allowed;
- ``unfinished``: the run was cut short.

The checker reads the history alone.  What was asked for comes in its options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.checkers.bands import Band, fault_bands, inside, merge
from splitbrain.checkers.budget import Budget
from splitbrain.checkers.verdict import UNKNOWN, VALID, Result
from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS, Op

__all__ = ["Earned", "Expectation"]


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What a run must show for a verdict of valid; every threshold is an option.

    Attributes:
        functions: client operations of which each must succeed once.
        answers: codes of ``fail`` that are answers and not refusals.
        faults: fault packages asked for.
        scheduled: faults that a schedule asks for.  A schedule may leave proofs out for want of time,
            so these must come, and not be denied by what was observed.
        left_out: how many of each kind of scheduled fault the run did without, by the user's leave;
            told beside what was seen of the others.
        packages: fault -> the package that it belongs to, where the names differ.
        recovery_s: how long after a heal the system may take to recover.
        answered_share: of the operations outside fault bands.
        unproven_share: of a fault's unmasked applications that may lack proof.
        concurrency: number of workers; a process modulo this is its worker.
        nodes: names of the testbed's nodes.
    """

    functions: tuple[str, ...] = ()
    answers: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()
    scheduled: tuple[str, ...] = ()
    left_out: Mapping[str, int] = {}
    packages: Mapping[str, str] = {}
    recovery_s: float = 3.0
    answered_share: float = 0.9
    unproven_share: float = 0.2
    concurrency: int = 10
    nodes: tuple[str, ...] = ()


class Earned:
    """Judges whether a run was a test at all; never invalid."""

    def __init__(self, expectation: Expectation) -> None:
        self._expect = expectation

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Valid if the run earned its verdict, else unknown with the first reason that applies."""
        expect = self._expect
        bands = fault_bands(history)
        end_ns = history[-1].time_ns if len(history) else 0
        spans = merge(bands, recovery_ns=int(expect.recovery_s * 1e9), end_ns=end_ns)
        share, stats = self._answered(history, spans, end_ns)
        stats["faults"] = _applications(bands, {})
        faults = _applications(bands, {**expect.packages, **{f: f for f in expect.faults}})
        if expect.left_out:
            stats["left_out"] = dict(expect.left_out)
        stats.update(_leaders(bands, expect.nodes))
        stats["thresholds"] = {
            "answered_share": expect.answered_share,
            "unproven_share": expect.unproven_share,
            "recovery_s": expect.recovery_s,
        }
        problems = [
            *_unfinished(history),
            *self._vacuous(history),
            *self._ineffective(faults),
            *self._denied(bands),
            *self._stuck(history),
            *self._refused(share, stats),
        ]
        if not problems:
            summary = f"earned: {share:.1%} of operations outside fault bands were answered"
            if expect.left_out:
                summary += f" (scheduled faults left out: {sum(expect.left_out.values())})"
            return Result(verdict=VALID, summary=summary, stats=stats)
        reason, summary = problems[0]
        stats["problems"] = [f"{word}: {text}" for word, text in problems]
        return Result(verdict=UNKNOWN, summary=summary, reason=reason, stats=stats)

    # --- each reason of unknown ---------------------------------------------------------------

    def _vacuous(self, history: History) -> list[tuple[str, str]]:
        seen = {op.f for op in history if op.type == "ok" and op.process != NEMESIS}
        never = [f for f in self._expect.functions if f not in seen]
        return [("vacuous", f"no {' and no '.join(never)} ever succeeded")] if never else []

    def _answered(
        self, history: History, spans: Sequence[tuple[int, int]], end_ns: int
    ) -> tuple[float, dict[str, Any]]:
        answered = asked = ok_outside = 0
        # The rate is one of the main phase: before it, while nodes come up, nobody asks for anything.
        main_begin_ns = _phase_ns(history, "main", 0)
        main_end_ns = _phase_ns(history, "heal", end_ns)
        for op, completion in history.invocations():
            if op.process == NEMESIS:
                continue
            until_ns = end_ns if completion is None else completion.time_ns
            if inside(spans, op.time_ns, until_ns):
                continue
            asked += 1
            answered += self._is_answer(completion)
            if completion is not None and completion.type == "ok" and op.time_ns <= main_end_ns:
                ok_outside += 1
        banded_ns = sum(
            max(0, min(end, main_end_ns) - max(begin, main_begin_ns)) for begin, end in spans
        )
        outside_s = max(0, main_end_ns - main_begin_ns - banded_ns) / 1e9
        share = answered / asked if asked else 1.0
        stats: dict[str, Any] = {
            "asked_outside_bands": asked,
            "answered_outside_bands": answered,
            "answered_share": round(share, 4),
            "seconds_outside_bands": round(outside_s, 3),
            "rate_outside_bands": round(ok_outside / outside_s, 1) if outside_s > 0.5 else None,
        }
        return share, stats

    def _is_answer(self, completion: Op | None) -> bool:
        if completion is None or completion.type == "info":
            return False
        if completion.type == "ok":
            return True
        return (completion.error or "").split(":", 1)[0] in self._expect.answers

    def _refused(self, share: float, stats: Mapping[str, Any]) -> list[tuple[str, str]]:
        if share >= self._expect.answered_share:
            return []
        text = (
            f"outside fault bands only {share:.1%} of {stats['asked_outside_bands']} operations "
            f"were answered, at least {self._expect.answered_share:.0%} are needed"
        )
        return [("refused", text)]

    def _ineffective(self, faults: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str]]:
        problems = []
        for name in self._expect.faults:
            seen = faults.get(name)
            if seen is None or seen["effective"] == 0:
                problems.append(
                    ("no-effect", f"the fault {name} was never shown to take effect")
                )
                continue
            judged = seen["applied"] - seen["masked"]
            if seen["no_effect"] > self._expect.unproven_share * judged:
                text = f"{seen['no_effect']} of {judged} applications of {name} lack proof"
                problems.append(("no-effect", text))
        return problems

    def _denied(self, bands: Sequence[Band]) -> list[tuple[str, str]]:
        problems = []
        for name in self._expect.scheduled:
            if name in self._expect.faults:
                continue
            seen = [_observed(band) for band in bands if band.fault == name]
            if not seen:
                problems.append(("no-effect", f"the scheduled fault {name} never came"))
            elif "denied" in seen and "effective" not in seen:
                text = f"the scheduled fault {name} was seen to have no effect"
                problems.append(("no-effect", text))
        return problems

    def _stuck(self, history: History) -> list[tuple[str, str]]:
        final_ns = next(
            (op.time_ns for op in history if op.f == "phase" and _phase(op) == "final"), None
        )
        if final_ns is None:
            return []
        workers = {
            op.process % self._expect.concurrency
            for op in history
            if op.process != NEMESIS and op.type == "ok" and op.time_ns >= final_ns
        }
        missing = sorted(set(range(self._expect.concurrency)) - workers)
        if not missing:
            return []
        names = ", ".join(str(worker) for worker in missing)
        return [
            ("no-progress", f"after the last heal no operation of worker {names} succeeded")
        ]


def _phase(op: Op) -> str | None:
    return op.value.get("phase") if isinstance(op.value, Mapping) else None


def _phase_ns(history: History, phase: str, otherwise: int) -> int:
    """When a phase was marked; ``otherwise`` in a history without that mark."""
    return next(
        (op.time_ns for op in history if op.f == "phase" and _phase(op) == phase), otherwise
    )


def _unfinished(history: History) -> list[tuple[str, str]]:
    for op in reversed(history):
        if op.f == "phase" and _phase(op) == "end":
            if isinstance(op.value, Mapping) and (
                op.value.get("interrupted") or op.value.get("error")
            ):
                return [("unfinished", "the run was interrupted before its end")]
            return []
    return [("unfinished", "the run was cut short: its history has no end")]


def _applications(
    bands: Sequence[Band], packages: Mapping[str, str]
) -> dict[str, dict[str, int]]:
    """For each package of faults how often it was applied, proven, masked, or neither."""
    counts: dict[str, dict[str, int]] = {}
    for band in bands:
        seen = counts.setdefault(
            packages.get(band.fault, band.fault),
            dict.fromkeys(("applied", "effective", "masked", "no_effect"), 0),
        )
        seen["applied"] += 1
        seen[_proven(band)] += 1
    return counts


def _proven(band: Band) -> str:
    """``effective``, ``masked`` or ``no_effect``: what ``_observed`` says, unproven being denied."""
    seen = _observed(band)
    return seen if seen in ("effective", "masked") else "no_effect"


def _observed(band: Band) -> str:
    """``effective`` if no observation denies it and one affirms it; ``masked`` if none was due.

    What the stop observed is proof only where the start had nothing to say, as with faults of
    chance, which are counted over their whole band; of any other fault it shows the heal.  An
    observation that could not be made (``effective`` null) denies nothing, and proves nothing.
    """
    proofs = list(band.value.get("proof") or band.stop_value.get("proof") or ())
    due = [proof.get("effective") for proof in proofs if not proof.get("masked")]
    if False in due:
        return "denied"
    if True in due:
        return "effective"
    return "masked" if proofs and not due else "unproven"


def _leaders(bands: Sequence[Band], nodes: Sequence[str]) -> dict[str, int]:
    """How often the leader of the moment was hit, and how often it was cut from the majority."""
    hit = cut_off = 0
    for band in bands:
        parameters = band.value.get("parameters") or {}
        leader = parameters.get("leader")
        if leader is None:
            continue
        if band.fault in ("kill", "power", "pause", "oom"):
            hit += leader in (band.value.get("targets") or ())
        elif band.fault == "partition":
            cut_off += _isolated(leader, parameters.get("cut") or (), nodes)
    return {"leader_hits": hit, "leader_cut_off": cut_off}


def _isolated(leader: str, cut: Sequence[Sequence[str]], nodes: Sequence[str]) -> bool:
    """True if the leader can exchange payload both ways with less than a majority."""
    broken = {(pair[0], pair[1]) for pair in cut}
    both = [
        node
        for node in nodes
        if node != leader and (leader, node) not in broken and (node, leader) not in broken
    ]
    return (len(both) + 1) * 2 <= len(nodes)
