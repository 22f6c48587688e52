"""From a history to a verdict: which checkers speak, and how their answers become one.

A run of ours is judged by its workload's checkers, by ``node-crash``, and by ``earned``: a valid
history of a run that was no test is ``unknown``.  ``availability``, ``unhandled`` and ``stats`` add
their figures.  A history file is judged by its model alone.
"""

from __future__ import annotations

from typing import Any

import msgspec

from splitbrain.catalog import Catalog, make_system, make_workload
from splitbrain.checkers.availability import AvailabilityChecker
from splitbrain.checkers.budget import Budget
from splitbrain.checkers.compose import compose
from splitbrain.checkers.earned import Earned, Expectation
from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.checkers.node_crash import NodeCrashChecker
from splitbrain.checkers.stats import StatsChecker
from splitbrain.checkers.unhandled import UnhandledChecker
from splitbrain.checkers.verdict import Checker, Result, Verdict
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import RequestError, UnknownName
from splitbrain.history.history import History
from splitbrain.results.left_out import left_out_counts

__all__ = [
    "EXIT_CODES",
    "acknowledged_lost",
    "expectation",
    "judge_history",
    "judge_run",
    "worst_exit",
]

EXIT_CODES: dict[Verdict, int] = {"valid": 0, "invalid": 1, "unknown": 3}
_WORST_FIRST = (1, 4, 2, 3, 0)


def worst_exit(codes: list[int]) -> int:
    """The exit code of many runs: the worst wins in the order 1, 4, 2, 3, 0.

    >>> worst_exit([0, 3, 1, 4]), worst_exit([0, 3]), worst_exit([])
    (1, 3, 0)
    """
    return next((code for code in _WORST_FIRST if code in codes), 0)


def expectation(spec: TestSpec, catalog: Catalog) -> Expectation:
    """What a run of this spec must show for a verdict of valid."""
    from splitbrain.nemesis.packages import FAULT_PACKAGE

    own = {fault: name for name, f in catalog.families.items() for fault in f.faults}
    workload = make_workload(spec, catalog)
    system = make_system(spec, catalog)
    options = spec.options
    return Expectation(
        functions=workload.functions,
        answers=workload.answers,
        faults=spec.nemesis,
        scheduled=tuple(
            dict.fromkeys(
                fault.f.removeprefix("start-")
                for fault in spec.schedule
                if fault.f.startswith("start-")
            )
        ),
        left_out=left_out_counts(spec.left_out),
        packages={**FAULT_PACKAGE, **own},
        recovery_s=3 * system.election_timeout_s(spec),
        answered_share=float(options.get("answered-share", 0.9)),
        unproven_share=float(options.get("unproven-share", 0.2)),
        concurrency=spec.concurrency,
        nodes=spec.nodes,
    )


def judge_run(
    spec: TestSpec, history: History, catalog: Catalog, budget: Budget | None = None
) -> Result:
    """The verdict of a run, from its spec and its history alone."""
    for name, table in ((spec.workload, catalog.workloads), (spec.system, catalog.systems)):
        if spec.load and name not in table:
            raise RequestError(
                f"{name!r} came from a plug-in; give it again: --load {' --load '.join(spec.load)}"
            )
    workload = make_workload(spec, catalog)
    checkers: dict[str, Any] = {
        **workload.checkers,
        "node-crash": NodeCrashChecker(),
        "earned": Earned(expectation(spec, catalog)),
        "availability": AvailabilityChecker(),
        "unhandled": UnhandledChecker(),
        "stats": StatsChecker(),
    }
    if budget is None:
        budget = Budget(float(spec.options.get("check-seconds", 60)))
    result = compose(checkers).check(history, {}, budget)
    lost = acknowledged_lost(result)
    return result if lost is None else _with_lost(result, lost)


def _with_lost(result: Result, lost: int) -> Result:
    """The count among the result's figures, and beside the other figures that a drill may limit."""
    figures = result.checkers["availability"]
    figures = msgspec.structs.replace(figures, stats={**figures.stats, "lost": lost})
    checkers = {**result.checkers, "availability": figures}
    return msgspec.structs.replace(result, stats={"lost": lost}, checkers=checkers)


def acknowledged_lost(result: Result) -> int | None:
    """How many acknowledged operations were lost, at least; None if no checker of the run can tell.

    A set counts them.  A linearizability checker stops at its first violation: one that is no loss
    says nothing of losses; a valid history has none.
    """
    counts = [part.stats.get("lost_count") for part in result.checkers.values()]
    counted = [count for count in counts if isinstance(count, int)]
    if counted:
        return sum(counted)
    lost = sum(1 for anomaly in result.anomalies if anomaly.kind.startswith("lost"))
    if lost:
        return lost
    linearizable = result.checkers.get("linearizable")
    return 0 if linearizable is not None and linearizable.verdict == "valid" else None


def judge_history(
    history: History,
    catalog: Catalog,
    budget: Budget,
    *,
    model: str,
    engine: str = "auto",
    linearizable: bool = False,
    **model_options: Any,
) -> Result:
    """The verdict of a history by one model, and nothing else.

    ``linearizable`` is for the model ``set``: whether a stale element is an anomaly.

    Raises:
        UnknownName: no model of that name.
        RequestError: an option that means nothing to this model.
    """
    if linearizable and model != "set":
        raise RequestError(f"--linearizable belongs to --model set; {model} has no such choice")
    if model in catalog.judges:
        if engine != "auto" or model_options.get("initial") is not None:
            word = "--initial" if engine == "auto" else "--engine"
            raise RequestError(f"{word} means nothing to --model {model}; leave it out")
        asked = {"linearizable": True} if linearizable else {}
        checker: Checker = catalog.judges[model](**asked)
        return checker.check(history, {}, budget)
    if model not in catalog.models:
        raise UnknownName("model", model, [*catalog.models, *catalog.judges])
    made = catalog.models[model](**model_options) if model_options else catalog.models[model]()
    return LinearizableChecker(made, engine=engine).check(history, {}, budget)
