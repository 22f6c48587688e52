"""What went wrong beside the verdict, and whose problem each is.

A reader who sees a hundred timeouts wants to know at once whether the system refused them or the test
was broken.  So there are two lists: what the **system under test** did (refusals, operations without an
answer, nodes that ended by themselves), and what the **harness** did: exceptions that a client did not
classify, faults that failed, checkers that crashed, reasons for which a run was no test, files read in
part, parts of the page that could not be made.

A client says what it knows by a code in lower case (``timeout``, ``no-leader``).  An error that begins
with a class's name was raised by something that the client had not foreseen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from splitbrain.checkers.verdict import Result
from splitbrain.history.op import Op
from splitbrain.results.bands import Application
from splitbrain.results.evidence import Finding, leaves
from splitbrain.results.report.brief import cut
from splitbrain.results.report.frame import OUTCOMES, Frame
from splitbrain.results.report.page import Page
from splitbrain.results.sentence import REASONS
from splitbrain.results.text import clock, count, plural

__all__ = ["Failure", "Problem", "failures_of", "harness_problems", "system_problems"]

_CLASS = re.compile(r"^(?:no-client: )?([A-Za-z_][\w.]*\.)?[A-Z]\w*(?::|$)")
_ROWS_MAX = 100
_TEXT_MAX = 300
_TOLD_MAX = 2_000
_MORE_MAX = 20_000
_WORDS_MAX = 2_000


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that went wrong.

    Attributes:
        what: in a few words.
        told: in a sentence, or an example.
        number: how often.
        op: index of the first operation concerned, if one is.
        more: further lines, such as a traceback.
    """

    what: str
    told: str = ""
    number: int = 1
    op: int | None = None
    more: str = ""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Operations that ended with the same word of error and the same outcome."""

    word: str
    outcome: str
    number: int
    functions: str
    nodes: str
    first: int
    first_time: str
    example: str
    unforeseen: bool


class _Tally:
    """What is known so far of one word and outcome."""

    def __init__(self, row: int) -> None:
        self.first = row
        self.number = 0
        self.functions: dict[int, int] = {}
        self.nodes: dict[int, int] = {}


def failures_of(frame: Frame) -> list[Failure]:
    """Operations that are not ok, by the word of their error, commonest first."""
    tallies: dict[tuple[str, int], _Tally] = {}
    for row in (frame.outcome != 0).nonzero()[0].tolist():
        _, end = frame.events_of(row)
        word = _word(end)
        if len(tallies) >= _WORDS_MAX and (word, int(frame.outcome[row])) not in tallies:
            word = "other errors"
        tally = tallies.setdefault((word, int(frame.outcome[row])), _Tally(row))
        tally.number += 1
        for counts, at in ((tally.functions, frame.f[row]), (tally.nodes, frame.node[row])):
            counts[int(at)] = counts.get(int(at), 0) + 1
    found = [_failure(frame, word, outcome, t) for (word, outcome), t in tallies.items()]
    return sorted(found, key=lambda failure: (-failure.number, failure.word))


def _word(end: Op | None) -> str:
    if end is None:
        return "no completion"
    error = end.error or "no error given"
    if _CLASS.match(error):
        parts = error.split(":")
        return cut(":".join(parts[: 2 if error.startswith("no-client:") else 1]), 80)
    return cut(error.partition(":")[0], 80)


def _failure(frame: Frame, word: str, outcome: int, tally: _Tally) -> Failure:
    begin, end = frame.events_of(tally.first)
    error = (end.error or "") if end is not None else ""

    def named(counts: dict[int, int], names: Sequence[str]) -> str:
        listed = sorted(counts.items(), key=lambda item: -item[1])
        parts = [f"{names[at]} {count(n)}" for at, n in listed[:6] if at >= 0]
        return cut(", ".join(parts) + (" \u2026" if len(listed) > 6 else ""), _TEXT_MAX)

    return Failure(
        word=word,
        outcome=OUTCOMES[outcome],
        number=tally.number,
        functions=named(tally.functions, frame.functions),
        nodes=named(tally.nodes, frame.nodes),
        first=begin.index,
        first_time="" if frame.timeless else clock(begin.time_ns),
        example=cut(error, _TEXT_MAX),
        unforeseen=bool(_CLASS.match(error)),
    )


def system_problems(found: Sequence[Finding]) -> list[Problem]:
    """Nodes that ended by themselves; what else the system did stands in the table of failures."""
    return [
        Problem(
            what="a node ended by itself",
            told=cut(anomaly.explanation, _TEXT_MAX),
            op=anomaly.ops[0] if anomaly.ops else None,
        )
        for _, anomaly in found
        if anomaly.kind == "node-crash"
    ][:_ROWS_MAX]


def harness_problems(page: Page, failures: Sequence[Failure]) -> list[Problem]:
    """What the harness, its plug-ins and this page did wrong, or could not do."""
    found = [
        *(
            Problem(
                what="an exception that the client did not classify",
                told=failure.example, number=failure.number, op=failure.first,
            )
            for failure in failures
            if failure.unforeseen
        ),
        *_ended(page.nemesis),
        *_fault_problems(page.bands),
        *_checker_problems(page.result),
        *(Problem(what="read in part", told=note) for note in page.data.notes),
        *(Problem(what="missing from this page", told=line) for line in page.problems),
    ]  # fmt: skip
    return [_brief(problem) for problem in found[:_ROWS_MAX]]


def _brief(problem: Problem) -> Problem:
    return msgspec.structs.replace(
        problem,
        what=cut(problem.what, _TEXT_MAX),
        told=cut(problem.told, _TOLD_MAX),
        more=cut(problem.more, _MORE_MAX),
    )


def _ended(nemesis: Sequence[Op]) -> list[Problem]:
    """Why the run ended before its time, as its last mark says."""
    found = []
    for op in nemesis:
        value = op.value if isinstance(op.value, dict) else {}
        if op.f == "phase" and value.get("error"):
            found.append(Problem(what="the run failed", told=str(value["error"]), op=op.index))
        elif op.f == "phase" and value.get("interrupted"):
            found.append(Problem(what="the run was interrupted", told=clock(op.time_ns)))
        elif op.error and not op.f.startswith("start-"):
            found.append(Problem(what=f"{op.f} failed", told=op.error, op=op.index))
    return found


def _fault_problems(bands: Sequence[Application]) -> list[Problem]:
    found = [
        Problem(what=f"{band.fault} could not be applied", told=band.error, op=band.ops[0])
        for band in bands
        if band.error and band.ops
    ]
    for effect, words in (
        ("no-effect", "was seen to have no effect"),
        ("unproven", "was not shown to take effect"),
    ):
        tally: dict[str, int] = {}
        for band in bands:
            if band.effect == effect and not band.error:
                tally[band.fault] = tally.get(band.fault, 0) + 1
        found += [
            Problem(what=f"{fault} {words}", told=plural(n, "application"), number=n)
            for fault, n in tally.items()
        ]
    return found


def _checker_problems(result: Result) -> list[Problem]:
    """Checkers that crashed or were refused, and every reason for which the run was no test."""
    found = []
    for name, part in leaves(result):
        if part.reason == "checker-crashed":
            found.append(
                Problem(
                    what=f"the checker {name} crashed", told=part.summary,
                    more=str(part.stats.get("traceback", "")),
                )
            )  # fmt: skip
        elif part.reason in REASONS and part.reason != "budget":
            listed = part.stats.get("problems")
            lines = listed if isinstance(listed, list | tuple) else [part.summary]
            found += [
                Problem(what="the run was no full test", told=str(line)) for line in lines
            ]
        elif part.verdict == "unknown":
            found.append(
                Problem(what=f"{name or 'the checker'} is undecided", told=part.summary)
            )
    return found
