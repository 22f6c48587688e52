"""The verbs ``drill`` and ``prune``: their options, and what they print.

On a terminal a live line shows the present run, and a table at the end; elsewhere there is one plain
line a run.  ``--json`` leaves stdout to one object, and the lines go to stderr.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from splitbrain.errors import RequestError
from splitbrain.printing import error_row

if TYPE_CHECKING:
    from splitbrain.results.prune import Keep

__all__ = ["drill", "prune"]

STORE = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("store"),
    show_default=True,
    help="Directory of drills and runs.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
FILE = click.Path(path_type=Path, dir_okay=False)


def _keep_options(command: Any) -> Any:
    for name, kind, words in (
        ("--keep-size", str, "Keep the store below this size, such as 2G."),
        ("--keep-days", click.FloatRange(min=0), "Keep what is younger than so many days."),
        ("--keep-runs", click.IntRange(min=1), "Keep so many runs and drills of each name."),
    ):
        command = click.option(name, type=kind, help=words)(command)
    return command


@click.command()
@click.argument("file", metavar="FILE.toml", type=FILE)
@click.option("--deadline", metavar="DURATION", help="For the whole: 20m, 90s, 1h30m, 1200.")
@click.option("--shard", metavar="I/N", help="Run the I-th of N parts of the scenarios.")
@click.option(
    "--unknown",
    type=click.Choice(["fail", "warn"]),
    default="fail",
    show_default=True,
    help="Whether what is left undecided, or is cut by the deadline, fails (exit 3).",
)
@click.option(
    "--archive", type=FILE, help="Put what was not as expected into one .tar.gz or .zip."
)
@click.option("--seeds", type=FILE, help="Failing seeds (default: seeds.toml beside FILE).")
@_keep_options
@click.option("--dry-run", is_flag=True, help="Say what would be run, and stop.")
@STORE
@JSON
def drill(file: Path, as_json: bool, dry_run: bool, **given: Any) -> None:
    """Run the scenarios of FILE.toml, each under its seeds, and say which were as expected.

    Exit code: 0 all as expected; 1 one was not; 4 one could not be run; 2 the file is malformed;
    3 one was left undecided.
    """
    from splitbrain.cli_drill.screen import Screen, tell_plan
    from splitbrain.commands.drill.durations import duration_s, shard_of
    from splitbrain.commands.drill.matrix import Catalogs
    from splitbrain.commands.drill.problems import MalformedDrill
    from splitbrain.commands.drill.whole import Request, Telling, perform, prepare

    request = Request(
        file=file,
        store=given["store"],
        shard=shard_of(given["shard"]) if given["shard"] else (1, 1),
        deadline_s=duration_s(given["deadline"]) if given["deadline"] else None,
        unknown_fails=given["unknown"] == "fail",
        archive=given["archive"],
        seeds=given["seeds"],
        keep=_keep(given),
    )
    catalogs = Catalogs()
    try:
        plan, strangers = prepare(request, catalogs)
    except MalformedDrill as error:
        _refuse(error, as_json=as_json)
    for line in strangers:
        click.echo(f"note: {line}", err=True)
    if dry_run:
        tell_plan(plan, as_json=as_json)
        return
    screen = Screen(plan, as_json=as_json)
    screen.begin()
    telling = Telling(told=screen.told, complain=screen.complain, progress=screen.progress)
    ended = perform(plan, request, catalogs, telling)
    screen.end(ended)
    sys.exit(ended.exit_code)


@click.command()
@_keep_options
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and stop.")
@STORE
def prune(store: Path, dry_run: bool, **given: Any) -> None:
    """Remove old runs and drills; never the latest failure, nor what is not finished or not ours."""
    from datetime import UTC, datetime

    from splitbrain.cli_drill.words import pruned_words
    from splitbrain.results.prune import prune as prune_store

    keep = _keep(given)
    if keep is None:
        raise RequestError("say what to keep: --keep-runs, --keep-days or --keep-size")
    now_s = datetime.now(UTC).timestamp()
    pruned = prune_store(store, keep, now_s=now_s, dry_run=dry_run)
    for entry in pruned.removed:
        click.echo(f"{'would remove' if dry_run else 'removed'} {entry.path}")
    click.echo(pruned_words(pruned, dry_run=dry_run))
    for line in pruned.left:
        click.echo(f"note: {line}", err=True)


def _keep(given: dict[str, Any]) -> Keep | None:
    from splitbrain.commands.drill.durations import size_bytes
    from splitbrain.results.prune import Keep

    size = given["keep_size"]
    keep = Keep(
        runs=given["keep_runs"],
        days=given["keep_days"],
        size_bytes=None if size is None else size_bytes(size),
    )
    return None if keep == Keep() else keep


def _refuse(error: Any, *, as_json: bool) -> NoReturn:
    """Each mistake of a drill's file on a line of its own."""
    for line in error.lines:
        click.echo(f"splitbrain: {line}", err=True)
    if as_json:
        problems = [msgspec.to_builtins(problem) for problem in error.problems]
        click.echo(json.dumps({**error_row(str(error)), "problems": problems}))
    sys.exit(error.exit_code)
