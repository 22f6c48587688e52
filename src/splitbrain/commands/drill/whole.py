"""A whole drill: from the words of the command line to its record, archive and exit code.

plan, strangers = prepare(request)        # refuses what is wrong; nothing is started
ended = perform(plan, request, telling)   # the runs; outputs, seeds, archive, pruning
sys.exit(ended.exit_code)
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.commands.drill.archive import check_archive, write_archive
from splitbrain.commands.drill.matrix import Catalogs, read_drill
from splitbrain.commands.drill.place import create_drill
from splitbrain.commands.drill.plan import Plan, make_plan
from splitbrain.commands.drill.runner import Setting, Told, Ways, run_drill
from splitbrain.commands.drill.seeds import SeedFile
from splitbrain.commands.drill.stop import Stop
from splitbrain.commands.drill.verdicts import exit_code, run_status
from splitbrain.commands.judge import worst_exit
from splitbrain.commands.report import rerun_command
from splitbrain.commands.run import Finished, run_spec
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import RequestError, SplitbrainError
from splitbrain.results.drill.outputs import write_outputs
from splitbrain.results.drill.record import DrillRecord
from splitbrain.results.prune import Keep, Pruned, prune

__all__ = ["Ended", "Request", "Telling", "perform", "prepare"]

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""Names the file in which GitHub Actions takes what a step has to say."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asks for.

    Attributes:
        shard: number and count.
        deadline_s: seconds for the whole; None: no limit.
        seeds: the file of failing seeds; None: ``seeds.toml`` beside the drill's file.
        keep: what to keep of older runs; None: all.
    """

    file: Path
    store: Path
    shard: tuple[int, int] = (1, 1)
    deadline_s: float | None = None
    unknown_fails: bool = True
    archive: Path | None = None
    seeds: Path | None = None
    keep: Keep | None = None

    @property
    def seed_file(self) -> Path:
        """Where failing seeds are remembered."""
        return self.seeds if self.seeds is not None else self.file.parent / "seeds.toml"

    @property
    def command(self) -> str:
        """The command line that runs the drill again."""
        words = ["splitbrain", "drill", str(self.file)]
        if self.shard[1] > 1:
            words += ["--shard", f"{self.shard[0]}/{self.shard[1]}"]
        if not self.unknown_fails:
            words += ["--unknown", "warn"]
        return shlex.join(words)


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """How the user is told: of each run, of what could not be written, of a run's progress."""

    told: Callable[[Told], None]
    complain: Callable[[str], None]
    progress: Callable[[], Callable[[Any], None] | None]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What a drill came to.

    Attributes:
        archived: how many files are in the archive, None without one.
    """

    record: DrillRecord
    exit_code: int
    archived: int | None = None
    pruned: Pruned | None = None


def prepare(request: Request, catalogs: Catalogs) -> tuple[Plan, tuple[str, ...]]:
    """Plan what is asked for; also returns what is strange and yet no hindrance.

    Raises:
        RequestError: a mistake in the drill's file, in the file of seeds, or in the request.
        Unsupported: this machine cannot do what a scenario asks for.
    """
    if request.archive is not None:
        check_archive(request.archive)
    if not request.seed_file.parent.is_dir():
        raise RequestError(f"--seeds {request.seed_file}: its directory is not there")
    drill = read_drill(request.file, catalogs)
    remembered = SeedFile(request.seed_file, drill.name).remembered()
    known = {scenario.name for scenario in drill.scenarios}
    strangers = tuple(
        f"{request.seed_file}: {drill.name} has no scenario {name!r}; its seeds are passed over"
        for name in remembered
        if name not in known
    )
    return make_plan(drill, shard=request.shard, remembered=remembered), strangers


def perform(plan: Plan, request: Request, catalogs: Catalogs, telling: Telling) -> Ended:
    """Run a plan; one signal ends the present run, and the rest is skipped.

    Raises:
        HostError: no directory can be made for it; nothing was started.
    """
    directory = create_drill(request.store, plan.drill.name)
    setting = Setting(
        directory=directory,
        command=request.command,
        unknown_fails=request.unknown_fails,
        deadline_s=request.deadline_s,
    )
    complaints: list[str] = []

    def complain(text: str) -> None:
        complaints.append(text)
        telling.complain(text)

    summary = os.environ.get(STEP_SUMMARY)
    with Stop() as stop:
        ways = Ways(
            run=partial(_run, catalogs, telling, stop),
            again=lambda spec, where: rerun_command(spec, catalogs.of(spec.load), where),
            clock=time.monotonic,
            stopped=lambda: stop.asked,
            outputs=partial(write_outputs, summary=Path(summary) if summary else None),
            told=telling.told,
            complain=complain,
            warn=telling.complain,
            seeds=SeedFile(request.seed_file, plan.drill.name),
        )
        record = run_drill(plan, setting, ways)
        archived = _archive(plan, request, record, complain)
    pruned = None
    if request.keep is not None:
        pruned = prune(request.store, request.keep, now_s=datetime.now(UTC).timestamp())
    code = exit_code(record)
    return Ended(
        record=record,
        exit_code=worst_exit([code, 4]) if complaints else code,
        archived=archived,
        pruned=pruned,
    )


def _run(
    catalogs: Catalogs, telling: Telling, stop: Stop, spec: TestSpec, store: Path
) -> Finished:
    show = telling.progress()

    def progress(state: Any) -> None:
        stop.hand_on()
        if show is not None:
            show(state)

    catalog = catalogs.of(spec.load)
    return run_spec(spec, catalog, store, progress=progress, own_process=True)


def _archive(
    plan: Plan, request: Request, record: DrillRecord, complain: Callable[[str], None]
) -> int | None:
    """Put what was not as expected into one file."""
    if request.archive is None:
        return None
    pairs = zip(plan.drill.scenarios, record.scenarios, strict=True)
    runs = [
        Path(run.directory)
        for scenario, told in pairs
        for run in told.runs
        if run.directory and told.status != "passed" and run_status(run, scenario) != "passed"
    ]
    try:
        return write_archive(request.archive, Path(record.directory), runs)
    except SplitbrainError as error:
        complain(str(error))
        return None
