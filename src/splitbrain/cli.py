"""The command line: parsing and printing only; what is done lives in ``commands``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

import splitbrain
from splitbrain.cli_drill import drill, prune
from splitbrain.cli_export import export
from splitbrain.cli_image import image
from splitbrain.cli_up import up
from splitbrain.errors import RequestError, SplitbrainError
from splitbrain.printing import (
    Group,
    announce,
    checked_row,
    complain,
    error_row,
    many,
    run_row,
    tally,
    tell,
)

__all__ = ["main"]

STORE = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("store"),
    show_default=True,
    help="Directory of run directories.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
POSITIVE = click.FloatRange(min=0, min_open=True)
LOAD = click.option("--load", multiple=True, metavar="FILE.py", help="Load a plug-in file.")


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(splitbrain.__version__, prog_name="splitbrain")
def main() -> None:
    """Does a distributed system keep its promises when networks split and nodes die?"""


@main.command()
@click.argument("workload")
@click.option("--system", default="minitikv", show_default=True)
@click.option("--on", "substrate", default="local", show_default=True, help="Where nodes live.")
@click.option("--nodes", type=int, default=5, show_default=True, help="Number of nodes.")
@click.option(
    "--node", "hosts", multiple=True, metavar="HOST", help="ssh: a node's [user@]host[:port]."
)
@click.option("--hosts", "hosts_file", metavar="FILE", help="ssh: your hosts, one a line.")
@click.option(
    "--yes-i-own-these-hosts", "own", is_flag=True, help="ssh: what runs there may be hurt."
)
@click.option(
    "--compose",
    metavar="PROJECT",
    help="Docker: test the containers of this compose project; they are given back as they were.",
)
@click.option(
    "--container",
    "containers",
    multiple=True,
    metavar="NAME",
    help="Docker: test containers that are there already, each a node.",
)
@click.option("--concurrency", default="10", show_default=True, help="Workers: 10, or 2n.")
@click.option(
    "--rate",
    type=float,
    default=100.0,
    show_default=True,
    help="Invocations a second; 0: no limit.",
)
@click.option("--time-limit", type=float, default=60.0, show_default=True, help="Seconds.")
@click.option(
    "--nemesis", default="none", show_default=True, help="Faults, comma-separated; all; none."
)
@click.option(
    "--nemesis-interval", type=float, help="Mean seconds (default 5 election timeouts)."
)
@click.option(
    "--faults", metavar="FILE", help="Faults at fixed times: a file, or a shipped schedule."
)
@click.option(
    "--skip-unsupported", is_flag=True, help="Leave out faults of the file not possible here."
)
@click.option("--seed", type=int, help="Default: drawn and printed.")
@click.option("--bug", "bugs", multiple=True, help="Switch on a seeded bug.")
@click.option("--check", "checks", multiple=True, help="Check also: replicas.")
@click.option("--option", "-o", "options", multiple=True, metavar="NAME=VALUE")
@click.option(
    "--test-count",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs, by successive seeds.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what would be run, for containers each command, and stop.",
)
@STORE
@LOAD
@JSON
def run(as_json: bool, store: Path, test_count: int, dry_run: bool, **given: Any) -> None:
    """Run WORKLOAD against a system while faults are injected, and judge what happened."""
    from splitbrain import catalog as names
    from splitbrain.commands.specify import make_spec

    catalog = names.load(given["load"], names.builtin())
    spec = make_spec(given, catalog)
    test = names.resolve(spec, catalog)
    if dry_run:
        _tell_only(test, as_json=as_json)
        return
    if not as_json:
        announce(spec, test.outside)
    _run_all(spec, catalog, store, test_count, as_json=as_json)


def _tell_only(test: Any, *, as_json: bool) -> None:
    """The commands that would be run; where there are none, the test as data."""
    from splitbrain.commands.rehearse import rehearse

    lines = rehearse(test)
    if as_json and lines is not None:
        told = {"spec": msgspec.to_builtins(test.spec), "commands": lines}
        click.echo(json.dumps(told))
    elif lines is None:
        click.echo(msgspec.json.format(msgspec.json.encode(test.spec)).decode())
    else:
        click.echo("\n".join(lines))


def _run_all(spec: Any, catalog: Any, store: Path, count: int, *, as_json: bool) -> NoReturn:
    """Run ``count`` successive seeds; what one of them could not do does not hide the others."""
    from splitbrain.commands.judge import worst_exit
    from splitbrain.commands.run import Abandoned, run_spec
    from splitbrain.live import LiveLine

    codes, rows = [], []
    for number in range(count):
        each = msgspec.structs.replace(spec, seed=spec.seed + number)
        live = LiveLine(sys.stderr)
        try:
            one = run_spec(
                each, catalog, store, progress=None if as_json else live, own_process=True
            )
        except SplitbrainError as error:
            if count == 1:
                raise
            live.clear()
            click.echo(f"splitbrain: seed {each.seed}: {complain(error)}", err=True)
            codes.append(error.exit_code)
            rows.append(error_row(str(error), seed=each.seed))
            if isinstance(error, Abandoned):
                break
            continue
        live.clear()
        codes.append(one.exit_code)
        rows.append(run_row(one))
        if not as_json:
            tell(one)
        if one.interrupted:
            break
    if as_json:
        click.echo(json.dumps(rows[0] if count == 1 else many(rows)))
    elif count > 1:
        click.echo(tally(rows, count))
    sys.exit(worst_exit(codes))


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", help="register, cas-register, kv, set or unique-ids.")
@click.option("--linearizable", is_flag=True, help="For set: a stale element is an anomaly.")
@click.option("--initial", help="First value, as JSON.")
@click.option(
    "--nil-reads", type=click.Choice(["value", "wildcard"]), help="What a read of nil saw."
)
@click.option(
    "--format",
    "format_",
    default="auto",
    show_default=True,
    help="jsonl, edn, etcd-log, kv-text.",
)
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    help="auto, zones, jit, wgl or reference.",
)
@click.option(
    "--budget-seconds", type=POSITIVE, help="Of wall time (default 60, or as the run says)."
)
@click.option(
    "--budget-mb", type=POSITIVE, default=2048.0, show_default=True, help="Of memory."
)
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write a report."
)
@LOAD
@JSON
def check(paths: tuple[Path, ...], as_json: bool, load: tuple[str, ...], **given: Any) -> None:
    """Judge run directories or history files.

    A run directory is judged as its spec says; a file needs --model, unless its format fixes it.
    """
    from splitbrain import catalog as names
    from splitbrain.commands.check import CheckOptions, check_path
    from splitbrain.commands.judge import EXIT_CODES, worst_exit

    if given["report"] is not None and len(paths) > 1:
        raise RequestError("--report writes one report: check one path at a time with it")
    catalog = names.load(load, names.builtin())
    options = CheckOptions(
        model=given["model"],
        initial=_json_value(given["initial"]),
        nil_reads=given["nil_reads"],
        format=given["format_"],
        engine=given["engine"],
        linearizable=given["linearizable"],
        budget_seconds=given["budget_seconds"],
        budget_mb=given["budget_mb"],
        report=given["report"],
    )
    codes, rows = [], []
    for path in paths:
        try:
            one = check_path(path, options, catalog)
        except SplitbrainError as error:
            if len(paths) == 1:
                raise
            click.echo(f"splitbrain: {complain(error)}", err=True)
            codes.append(error.exit_code)
            rows.append(error_row(str(error), path=str(path)))
            continue
        codes.append(EXIT_CODES[one.result.verdict])
        rows.append(checked_row(one))
        for note in one.notes:
            click.echo(f"note: {note}", err=True)
        if not as_json:
            click.echo(f"{one.path}: {one.sentence}")
    if as_json:
        click.echo(json.dumps(rows[0] if len(rows) == 1 else many(rows)))
    sys.exit(worst_exit(codes))


def _json_value(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


@main.command()
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Default: RUN/report.html."
)
@LOAD
def report(run_directory: Path, output: Path | None, load: tuple[str, ...]) -> None:
    """Write the HTML report of a run again; the verdict is taken as it stands."""
    from splitbrain import catalog as names
    from splitbrain.commands.judge import judge_run
    from splitbrain.commands.report import write_run_report
    from splitbrain.results.runs import is_run, read_run

    catalog = names.load(load, names.builtin())
    if not is_run(run_directory):
        raise RequestError(f"{run_directory}: not a run directory (it has no spec.json)")
    run = read_run(run_directory)
    result = run.result or judge_run(run.spec, run.history, catalog)
    path = output or run_directory / "report.html"
    write_run_report(run, result, catalog, path)
    click.echo(path)


@main.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=10.0),
    default=20.0,
    show_default=True,
    help="Length of each run.",
)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--on", default="local", show_default=True, help="Where nodes live.")
@STORE
def demo(seconds: float, seed: int, on: str, store: Path) -> None:
    """A correct cluster under faults, then one with a seeded bug: two verdicts, two reports."""
    from splitbrain import catalog as names
    from splitbrain.commands.demo import demo_parts, run_demo
    from splitbrain.live import LiveLine

    live = LiveLine(sys.stderr)

    def begun(part: Any) -> Any:
        click.echo(f"\n{part.title}")
        live.restart()
        return live

    def told(part: Any, finished: Any) -> None:
        live.clear()
        tell(finished)
        if finished.verdict != part.expect:
            click.echo(f"expected {part.expect}, got {finished.verdict}")

    parts = demo_parts(seconds=seconds, seed=seed, on=on)
    code = run_demo(names.builtin(), store, parts, told=told, begun=begun, own_process=True)
    sys.exit(code)


@main.command(name="list")
@click.argument("kind")
@JSON
@LOAD
def list_(kind: str, as_json: bool, load: tuple[str, ...]) -> None:
    """List workloads, nemeses, checkers, models, systems, substrates, bugs or options."""
    from splitbrain import catalog as names
    from splitbrain.commands.listing import BUG_FIELDS, FIELDS, listing

    rows = listing(kind, names.load(load, names.builtin()))
    if as_json:
        fields = BUG_FIELDS if kind == "bugs" else FIELDS
        click.echo(json.dumps({kind: [dict(zip(fields, row, strict=True)) for row in rows]}))
        return
    if kind == "bugs":
        for name, short, share, anomalies, command in rows:
            click.echo(f"{name} ({short}): {anomalies}; found by {share} seeds\n    {command}")
        return
    width = max((len(row[0]) for row in rows), default=0)
    for row in rows:
        click.echo(f"{row[0]:{width}}  {row[1]}".rstrip())


@main.command()
def doctor() -> None:
    """Say what this machine can do, and what is missing for the rest."""
    from splitbrain import catalog as names
    from splitbrain.commands.doctor import diagnose

    rows = diagnose(names.builtin())
    width = max(len(row[0]) for row in rows)
    for what, answer, details in rows:
        click.echo(f"{what:{width}}  {answer:3}  {details}".rstrip())


@main.command()
def heal() -> None:
    """Undo what killed runs have left on this machine; touches nothing else."""
    from splitbrain.commands.heal import heal_all

    report = heal_all()
    for line in report.lines():
        click.echo(line)
    sys.exit(4 if report.left else 0)


main.add_command(drill)
main.add_command(export)
main.add_command(image)
main.add_command(prune)
main.add_command(up)
