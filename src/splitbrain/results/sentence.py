"""The verdict in one sentence: for the banner, the last line in a terminal, and ``--json``.

    INVALID: a stale read of key 17: process 7 read 3 at 12.41 s although 9 had been written by
    12.02 s; n2 was cut off from the others.

Pure: the same result, history and faults give the same sentence.  It repeats the verdict that it was
given and has no way to form one of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.bands import Application, bands_of, describe
from splitbrain.results.evidence import Finding, findings, leaves, pick
from splitbrain.results.text import (
    and_list,
    clock,
    count,
    key_text,
    plural,
    shorten,
    span,
    value_text,
    visible,
)

__all__ = ["REASONS", "circumstances", "headline", "verdict_sentence"]

_AFTERMATH_NS = 5_000_000_000
"""A fault that ended at most this long before an anomaly is still worth naming."""

REASONS = {
    "vacuous": "some kind of operation never succeeded",
    "no-effect": "a fault that was asked for was not shown to take effect",
    "no-progress": "clients did not all succeed again after the last heal",
    "refused": "too few operations were answered while no fault held",
    "budget": "the checker's budget was spent before it could decide",
    "unfinished": "the run was cut short",
    "checker-crashed": "a checker failed",
    "broken-contract": "a checker gave an answer that is none",
}
"""What each reason of unknown means."""


def verdict_sentence(
    result: Result,
    history: Sequence[Op] = (),
    spec: TestSpec | None = None,
    faults: Sequence[ScheduledFault] = (),
) -> str:
    """``WORD: what was found``, in one line that ends with a full stop.

    Args:
        result: the verdict, taken as it is.
        history: finds the faults that held at an anomaly; may be empty.
        spec: names the nodes and the workload; may be None.
        faults: the schedule, where the history holds no nemesis operations.
    """
    body = headline(result, history, spec, faults)
    return f"{result.verdict.upper()}: {body}"


def headline(
    result: Result,
    history: Sequence[Op] = (),
    spec: TestSpec | None = None,
    faults: Sequence[ScheduledFault] = (),
) -> str:
    """The sentence without its first word, for a banner that shows the word in another way."""
    if result.verdict == "valid":
        return _stop(_valid(result, history, spec, faults))
    found = findings(result)
    if result.verdict == "invalid" and found:
        return _stop(_invalid(found, history, spec, faults))
    return _stop(_undecided(result))


def _stop(text: str) -> str:
    text = visible(" ".join(text.split()))
    return text if text.endswith((".", "!", "?")) else text + "."


_NOUNS = {
    "not-linearizable": ("history", "that no order explains"),
    "stale-beyond-bound": ("read", "older than the bound allows"),
    "failed-write-visible": ("failed write", "that was seen"),
    "write-applied-twice": ("write", "that was applied twice"),
}
"""Kinds whose words alone make no noun."""


def _named(anomaly: Anomaly) -> str:
    words = anomaly.kind.replace("-", " ").replace("_", " ")
    noun, clause = _NOUNS.get(anomaly.kind, (words or "anomaly", ""))
    article = "an" if noun[:1].lower() in "aeiou" else "a"
    about = "" if anomaly.key is None else f" of key {shorten(key_text(anomaly.key), 40)}"
    return f"{article} {noun}{about} {clause}".rstrip()


def _first_sentence(text: str) -> str:
    """Up to the first full stop that does not stand inside quotes, where values stand."""
    for stop in re.finditer(r"\.\s", text):
        if text.count('"', 0, stop.start()) % 2 == 0:
            text = text[: stop.start()]
            break
    return text.strip().rstrip(".")


def _invalid(
    found: Sequence[Finding],
    history: Sequence[Op],
    spec: TestSpec | None,
    faults: Sequence[ScheduledFault],
) -> str:
    anomaly = found[0].anomaly
    named, told = _named(anomaly), shorten(_first_sentence(anomaly.explanation), 400)
    if anomaly.key is not None:
        for name in (key_text(anomaly.key), value_text(anomaly.key)):
            told = told.removeprefix(f"key {name}:").lstrip()
    repeats = told.lower().startswith((named, named.partition(" ")[2]))
    text = told if repeats else f"{named}: {told}" if told else named
    around = circumstances(
        anomaly, history, bands_of(history, faults), spec.nodes if spec else ()
    )
    if around:
        text += f"; {around}"
    if len(found) > 1:
        text += f" ({plural(len(found) - 1, 'more anomaly', 'more anomalies')} in the report)"
    return text


def circumstances(
    anomaly: Anomaly,
    history: Sequence[Op],
    bands: Sequence[Application],
    nodes: Sequence[str] = (),
) -> str:
    """The faults that held while the anomaly's operations ran, or ended shortly before, in words."""
    ops = pick(history, anomaly.ops)
    if not ops or not bands:
        return ""
    moments = [op.time_ns for op in ops.values()]
    # The last operation is where the fault showed; long evidence would name every fault of the run.
    last_ns, first_ns = max(moments), max(min(moments), max(moments) - _AFTERMATH_NS)
    held = [b for b in bands if b.start_ns <= last_ns and b.until_ns(last_ns) >= first_ns]
    if held:
        return and_list(list(dict.fromkeys(describe(band, nodes) for band in held))[:3])
    ended = [b for b in bands if 0 <= first_ns - b.until_ns(last_ns) <= _AFTERMATH_NS]
    if not ended:
        return ""
    band = max(ended, key=lambda b: b.until_ns(last_ns))
    return f"{describe(band, nodes)} until {span(first_ns - band.until_ns(last_ns))} before"


def _valid(
    result: Result,
    history: Sequence[Op],
    spec: TestSpec | None,
    faults: Sequence[ScheduledFault],
) -> str:
    done = sum(1 for op in history if op.process != NEMESIS and op.type == "ok")
    parts = []
    if done:
        nodes = f" on {plural(len(spec.nodes), 'node')}" if spec else ""
        length = f" in {clock(history[-1].time_ns)}" if len(history) else ""
        parts.append(f"{count(done)} successful operations{nodes}{length}")
    tally: dict[str, int] = {}
    for band in bands_of(history, faults):
        tally[band.fault] = tally.get(band.fault, 0) + 1
    if tally:
        parts.append(
            f"under {and_list([_faults(name, n) for name, n in sorted(tally.items())])}"
        )
    # A composed summary is its parts' joined by semicolons; the first is the one that was asked for.
    summary = _first_sentence(result.summary.split("; ", 1)[0])
    if not parts:
        return summary or "nothing was found"
    told = " ".join(parts)
    return f"{told}: {summary}" if summary else told


_FAULTS = {
    "power": "loss of power",
    "oom": "out-of-memory kill",
    "cpu": "shortage of processor time",
}


def _faults(name: str, number: int) -> str:
    noun = _FAULTS.get(name, name.replace("-", " "))
    head, of, tail = noun.partition(" of ")  # as in "losses of power"
    ending = "es" if of and head.endswith("ss") else "" if head.endswith("s") else "s"
    return plural(number, noun, head + ending + of + tail)


def _undecided(result: Result) -> str:
    reason = result.reason
    summary = result.summary
    if result.verdict == "unknown":
        for _name, part in leaves(result):
            if part.verdict == "unknown":
                reason, summary = reason or part.reason, summary or part.summary
    word = (reason or "").replace("-", " ")
    told = _first_sentence(summary)
    if word and told and word.lower() not in told.lower():
        return f"{word}: {told}"
    return told or REASONS.get(reason or "", word) or "no reason was given"
