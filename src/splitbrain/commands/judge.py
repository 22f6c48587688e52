"""From a history to a verdict: which checkers speak, and how their answers become one.

A run of ours is judged by its workload's checkers, by ``node-crash``, and by ``earned``: a valid
history of a run that was no test is ``unknown``.  A history file is judged by its model alone.
"""

from __future__ import annotations

from typing import Any

from splitbrain.catalog import Catalog, make_system, make_workload
from splitbrain.checkers.budget import Budget
from splitbrain.checkers.compose import compose
from splitbrain.checkers.earned import Earned, Expectation
from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.checkers.node_crash import NodeCrashChecker
from splitbrain.checkers.stats import StatsChecker
from splitbrain.checkers.verdict import Result, Verdict
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import RequestError, UnknownName
from splitbrain.history.history import History

__all__ = ["EXIT_CODES", "expectation", "judge_history", "judge_run", "worst_exit"]

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
        "stats": StatsChecker(),
    }
    if budget is None:
        budget = Budget(float(spec.options.get("check-seconds", 60)))
    return compose(checkers).check(history, {}, budget)


def judge_history(
    history: History,
    catalog: Catalog,
    budget: Budget,
    *,
    model: str,
    engine: str = "auto",
    **model_options: Any,
) -> Result:
    """The verdict of a history by one model, and nothing else.

    Raises:
        UnknownName: no model of that name.
    """
    if model not in catalog.models:
        raise UnknownName("model", model, catalog.models)
    made = catalog.models[model](**model_options) if model_options else catalog.models[model]()
    return LinearizableChecker(made, engine=engine).check(history, {}, budget)
