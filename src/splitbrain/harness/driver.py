"""Runs one test on one testbed, from its opening to its end.

    open testbed, start system, wait until it serves, open clients, make fault packages
    main    clients at their rate, nemesis beside them, until the time limit
    heal    the packages' final generators, stops of whatever is still open, restarts
    final   clients go on until each worker has had an ok; then the workload's final generator
    end     clients closed, crashes and probes recorded, system stopped, testbed closed

The phases are marked in the history by single nemesis events ``phase``.  It runs on whatever event
loop it is in, and knows time only from the testbed.  Whatever happens, faults are healed, nodes are
ended, and the history so far is handed to the operating system.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from splitbrain.contracts.test import Recorder, Test
from splitbrain.contracts.testbed import Site
from splitbrain.errors import HarnessError, SplitbrainError
from splitbrain.harness.play import Run
from splitbrain.harness.stage import Interrupted, Stage
from splitbrain.harness.watch import Progress
from splitbrain.harness.workers import one_line

__all__ = ["Progress", "RunOutcome", "run_test"]


class RunOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a test ended.

    Attributes:
        status: ``finished`` or ``interrupted``.
        seconds: on the substrate's clock, from the opening of the testbed.
        ops: client operations invoked.
    """

    status: str
    seconds: float
    ops: int


async def run_test(
    test: Test,
    site: Site,
    recorder: Recorder,
    *,
    stop: asyncio.Event | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> RunOutcome:
    """Run a test; inside ``test.substrate.run`` only.

    Setting ``stop`` ends the main phase early: faults are healed, everything is closed, and the
    outcome is ``interrupted``.  Cancelling the task does so without any further phase.
    ``progress`` is called about five times a second.

    Raises:
        CannotError: the substrate or the system cannot do it, for instance a node does not come up.
        HarnessError: the harness or a plug-in broke; the history so far has been recorded.
    """
    stage = Stage(test, site, recorder)
    run: Run | None = None
    failure: BaseException | None = None
    try:
        await stage.open(stop)
        run = Run(stage, recorder, progress)
        await run.phases(stop)
    except Interrupted:
        pass
    except BaseException as exc:  # noqa: BLE001 - everything is ended first, then it is raised
        failure = exc
    try:
        if run is not None:
            await run.end(failure)
    except BaseException as exc:  # noqa: BLE001 - the testbed must be closed all the same
        failure = failure or exc
    try:
        await stage.close(failed=failure is not None)
        recorder.flush()
    except BaseException as exc:  # noqa: BLE001 - the first failure is the one to tell
        failure = failure or exc
    if failure is not None:
        raise _told(failure) from failure
    interrupted = run is None or run.interrupted
    return RunOutcome(
        status="interrupted" if interrupted else "finished",
        seconds=stage.seconds(),
        ops=0 if run is None else run.watch.tally["invoke"],
    )


def _told(failure: BaseException) -> BaseException:
    """What is raised: our own errors and cancellation as they are, all else as HarnessError."""
    if isinstance(failure, SplitbrainError) or not isinstance(failure, Exception):
        return failure
    trace = failure.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = (
        "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    )
    return HarnessError(f"{one_line(failure)}{where}")
