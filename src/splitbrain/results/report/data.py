"""What a report is made of: data that already exists, and nothing that could change it.

Any field may be missing or empty; the page then lacks that part, says so, and still opens: a report
is wanted most when a run went wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.checkers.verdict import Result
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.history.op import Op

__all__ = ["ReportData"]


class ReportData(msgspec.Struct, frozen=True, kw_only=True):
    """The input of ``build_report``.

    Attributes:
        result: the verdict; parts of a composed one by name in ``result.checkers``.
        spec: the test, or None for a history file that was only checked.
        history: every event, in order (a ``History`` is such a sequence).
        faults: the schedule as it was carried out (``faults.jsonl``); shown where the history holds
            no nemesis operations.
        events: what nodes said of themselves: mappings with ``time_ns``, ``node``, ``kind``
            (``leader``, ``follower``, ``candidate``, ``start`` ...) and ``term``.
        log_tails: node -> the last lines of its log.
        log_lines: node -> lines of its log around the anomalies, each (time in the test in ns, text).
        answers: words of error by which a ``fail`` is an answer and no refusal (``cas-mismatch``).
        notes: what was left out while the run was read.
        legend: fault (``partition``, or ``start-partition``) -> words.
        facts: about the run, all optional: ``command`` (run it again), ``run`` (where it lies),
            ``times`` (name -> seconds, such as ``election_timeout``), ``outside`` (names of faults
            outside the system's fault model), ``host``, ``version``, ``duration_s``,
            ``started`` ...; a name that is not known here is shown as it is.
    """

    result: Result
    spec: TestSpec | None = None
    history: Sequence[Op] = ()
    faults: Sequence[ScheduledFault] = ()
    events: Sequence[Mapping[str, Any]] = ()
    log_tails: Mapping[str, Sequence[str]] = {}
    log_lines: Mapping[str, Sequence[tuple[int, str]]] = {}
    answers: frozenset[str] = frozenset()
    notes: Sequence[str] = ()
    legend: Mapping[str, str] = {}
    facts: Mapping[str, Any] = {}
