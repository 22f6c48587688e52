"""``splitbrain run``: a test from its spec to its verdict and its report.

The history is on disk as it happens, so whatever ends the run, what was recorded can be checked.
One SIGINT or SIGTERM ends the main phase: faults are healed, and the history is checked and
reported.  A second one heals and gives up; more than two do nothing, for healing must end.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.catalog import Catalog, resolve
from splitbrain.checkers.verdict import Result, Verdict
from splitbrain.commands.judge import EXIT_CODES, judge_run
from splitbrain.commands.report import rerun_command, write_run_report
from splitbrain.commands.signals import Signals
from splitbrain.contracts.journal import Journal, NullJournal
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.test import Test
from splitbrain.contracts.testbed import Site
from splitbrain.env.random import Random
from splitbrain.errors import CannotError, HarnessError
from splitbrain.harness.driver import RunOutcome, run_test
from splitbrain.results.runs import RunRecorder, create_run, read_run, write_result
from splitbrain.results.sentence import verdict_sentence

__all__ = ["Abandoned", "Finished", "finish", "run_spec"]


class Abandoned(HarnessError):
    """The user gave the run up: by a second signal, or by one while it was judged."""


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to.

    Attributes:
        directory: where it lies.
        sentence: the verdict in a sentence.
        again: the command that runs it again.
        interrupted: a signal ended it early.
    """

    spec: TestSpec
    directory: Path
    result: Result
    sentence: str
    operations: int
    seconds: float
    again: str
    interrupted: bool = False

    @property
    def verdict(self) -> Verdict:
        """valid, invalid or unknown."""
        return self.result.verdict

    @property
    def exit_code(self) -> int:
        """By the verdict."""
        return EXIT_CODES[self.result.verdict]

    @property
    def report(self) -> Path:
        """The HTML file."""
        return self.directory / "report.html"


def run_spec(
    spec: TestSpec,
    catalog: Catalog,
    store: Path,
    *,
    progress: Callable[[Any], None] | None = None,
    own_process: bool = False,
) -> Finished:
    """Run one test and judge it.

    ``own_process`` says that this process ends when the user gives up, see ``signals``.

    Raises:
        RequestError: the spec is malformed; nothing was started.
        CannotError: it cannot be done here; the run directory is noted on it.
        HarnessError: the harness or a plug-in broke; the history so far is kept and named.
        Abandoned: given up by the user; what was done to the machine has been undone.
    """
    test = resolve(spec, catalog)
    directory = create_run(store, spec)
    try:
        recorder = RunRecorder(directory)
        with Signals(own_process=own_process) as signals:
            try:
                outcome = _run(test, directory, recorder, progress, signals)
            finally:
                recorder.close()
            return finish(
                directory,
                catalog,
                seconds=outcome.seconds,
                interrupted=outcome.status == "interrupted",
            )
    except KeyboardInterrupt as error:
        raise Abandoned(
            f"interrupted; splitbrain check {directory} judges what was recorded"
        ) from error
    except (CannotError, HarnessError) as error:
        error.add_note(f"the history so far is kept in {directory}")
        raise


def _run(
    test: Test,
    directory: Path,
    recorder: RunRecorder,
    progress: Callable[[Any], None] | None,
    signals: Signals,
) -> RunOutcome:
    # Two stores may each begin a run of one name in one millisecond; labels must differ all the same.
    label = f"splitbrain-{directory.parent.name}-{directory.name}-{secrets.token_hex(4)}"
    journal: Journal | None = None
    try:  # a signal may come at once, even while the journal is being made
        journal = _journal(test.spec, directory, label)
        return _play(test, directory, recorder, progress, signals, label, journal)
    except asyncio.CancelledError as error:
        raise Abandoned("ended by a second signal; faults were healed") from error
    finally:
        _close(journal, label)


def _play(
    test: Test,
    directory: Path,
    recorder: RunRecorder,
    progress: Callable[[Any], None] | None,
    signals: Signals,
    label: str,
    journal: Journal,
) -> RunOutcome:
    power = "power" in test.spec.nemesis or any("power" in f.f for f in test.spec.schedule)
    site = Site(
        spec=test.spec,
        directory=str(directory.absolute()),
        label=label,
        random=Random(test.spec.seed),
        journal=journal,
        events=recorder.event,
        power=power,
    )

    async def main() -> RunOutcome:
        stop = asyncio.Event()
        task = asyncio.ensure_future(
            run_test(test, site, recorder, stop=stop, progress=progress)
        )
        signals.attach(stop, task)
        try:
            return await task
        finally:
            signals.detach()

    return test.substrate.run(main)


def _close(journal: Journal | None, label: str) -> None:
    """Forget the run if nothing of it is left; else undo what a hasty end has left."""
    close = getattr(journal, "close", None)
    if journal is None or (close is not None and not close()):
        from splitbrain.substrates.heal import heal

        heal(only=label, own=True)


def _journal(spec: TestSpec, directory: Path, label: str) -> Journal:
    """Simulations touch nothing outside this process; all else is journaled."""
    if spec.substrate == "sim":
        return NullJournal()
    from splitbrain.substrates.heal import heal
    from splitbrain.substrates.journal import FileJournal

    heal()
    return FileJournal(str(directory / "journal.jsonl"), label=label)


def finish(
    directory: Path, catalog: Catalog, *, seconds: float = 0.0, interrupted: bool = False
) -> Finished:
    """Judge a run directory from what is on disk, and write its result and report."""
    run = read_run(directory)
    result = judge_run(run.spec, run.history, catalog)
    write_result(directory, result)
    write_run_report(run, result, catalog, directory / "report.html")
    return Finished(
        spec=run.spec,
        directory=directory,
        result=result,
        sentence=verdict_sentence(result, run.history, run.spec, run.faults),
        operations=run.operations,
        seconds=seconds,
        again=rerun_command(run.spec, catalog, directory),
        interrupted=interrupted,
    )
