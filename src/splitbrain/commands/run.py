"""``splitbrain run``: a test from its spec to its verdict and its report.

The history is on disk as it happens, so whatever ends the run, what was recorded can be checked.
One SIGINT or SIGTERM ends the main phase: faults are healed, and the history is checked and
reported.  A second one heals and gives up; more than two do nothing, for healing must end.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from splitbrain.catalog import Catalog, resolve
from splitbrain.checkers.verdict import Result, Verdict
from splitbrain.commands.judge import EXIT_CODES, judge_run
from splitbrain.commands.report import rerun_command, write_run_report
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
) -> Finished:
    """Run one test and judge it.

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
        try:
            with _terminating():
                outcome = _run(test, directory, recorder, progress)
        finally:
            recorder.close()
        with _terminating():  # again, for an event loop that ends takes its handlers away
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


@contextlib.contextmanager
def _terminating() -> Iterator[None]:
    """Let SIGTERM do what SIGINT does, outside the event loop too."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, on_signal)
    except ValueError:  # not the main thread: the host handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(
    test: Test,
    directory: Path,
    recorder: RunRecorder,
    progress: Callable[[Any], None] | None,
) -> RunOutcome:
    # Two stores may each begin a run of one name in one millisecond; labels must differ all the same.
    label = f"splitbrain-{directory.parent.name}-{directory.name}-{secrets.token_hex(4)}"
    journal = _journal(test.spec, directory, label)
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
        with _signals(stop, task, virtual=test.spec.substrate == "sim"):
            return await task

    try:
        return test.substrate.run(main)
    except asyncio.CancelledError as error:
        raise Abandoned("ended by a second signal; faults were healed") from error
    finally:
        _close(journal, label)


def _close(journal: Journal, label: str) -> None:
    """Forget the run if nothing of it is left; else undo what a hasty end has left."""
    close = getattr(journal, "close", None)
    if close is not None and not close():
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


@contextlib.contextmanager
def _signals(
    stop: asyncio.Event, task: asyncio.Future[Any], *, virtual: bool
) -> Iterator[None]:
    """First signal: ``stop`` is set.  Second: the task is cancelled, which heals and ends."""
    loop = asyncio.get_running_loop()
    seen = 0

    def on_signal() -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            stop.set()
        elif seen == 2:
            task.cancel()

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {}
    for kind in kinds:
        if virtual:
            # A virtual loop never waits, so a plain handler is seen between two callbacks.
            # Outside the main thread the host handles signals.
            with contextlib.suppress(ValueError):
                before[kind] = signal.signal(kind, lambda *_: loop.call_soon(on_signal))
        else:
            with contextlib.suppress(ValueError, RuntimeError):
                loop.add_signal_handler(kind, on_signal)
    try:
        yield
    finally:
        for kind in kinds:
            if virtual and kind in before:
                signal.signal(kind, before[kind])
            elif not virtual:
                loop.remove_signal_handler(kind)


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
