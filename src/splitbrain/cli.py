"""The command line: parsing and printing only; what is done lives in ``commands``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

import splitbrain
from splitbrain.errors import RequestError, SplitbrainError
from splitbrain.printing import announce, many, result_row, run_row, tell

__all__ = ["main"]

STORE = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("store"),
    show_default=True,
    help="Directory of run directories.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
LOAD = click.option("--load", multiple=True, metavar="FILE.py", help="Load a plug-in file.")


class _Group(click.Group):
    """Turns every error of ours into one line and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SplitbrainError as error:
            _fail(error, as_json=bool(ctx.meta.get("json")))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is None:
            import difflib

            near = difflib.get_close_matches(cmd_name, self.list_commands(ctx), n=2)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"no command {cmd_name!r}{hint}")
        return command


def _fail(error: SplitbrainError, *, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"verdict": "error", "summary": str(error)}))
    click.echo(f"splitbrain: {error}", err=True)
    sys.exit(error.exit_code)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(splitbrain.__version__, prog_name="splitbrain")
def main() -> None:
    """Does a distributed system keep its promises when networks split and nodes die?"""


def _scalar(text: str) -> str | int | float | bool:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def _options(pairs: tuple[str, ...]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise RequestError(f"--option {pair!r}: write it as NAME=VALUE")
        options[name] = _scalar(value)
    return options


def _concurrency(text: str, nodes: int) -> int:
    number = text.removesuffix("n")
    if not number.isdigit() or int(number) < 1:
        raise RequestError(
            f"--concurrency {text!r}: a number such as 10, or a multiple of nodes such as 2n"
        )
    return int(number) * (nodes if text.endswith("n") else 1)


@main.command()
@click.argument("workload")
@click.option("--system", default="minitikv", show_default=True)
@click.option("--on", "substrate", default="local", show_default=True, help="Where nodes live.")
@click.option("--nodes", type=int, default=5, show_default=True, help="Number of nodes.")
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
@click.option("--seed", type=int, help="Default: drawn and printed.")
@click.option("--bug", "bugs", multiple=True, help="Switch on a seeded bug.")
@click.option("--option", "-o", "options", multiple=True, metavar="NAME=VALUE")
@click.option(
    "--test-count", type=int, default=1, show_default=True, help="Runs, by successive seeds."
)
@click.option("--dry-run", is_flag=True, help="Say what would be run, and stop.")
@STORE
@LOAD
@JSON
@click.pass_context
def run(
    ctx: click.Context,
    /,
    as_json: bool,
    store: Path,
    test_count: int,
    dry_run: bool,
    **given: Any,
) -> None:
    """Run WORKLOAD against a system while faults are injected, and judge what happened."""
    ctx.meta["json"] = as_json
    from splitbrain import catalog as names
    from splitbrain.commands.judge import worst_exit
    from splitbrain.commands.run import Finished, run_spec
    from splitbrain.live import LiveLine

    catalog = names.load(given["load"], names.builtin())
    spec = _spec(given, catalog)
    test = names.resolve(spec, catalog)
    if dry_run:
        click.echo(msgspec.json.format(msgspec.json.encode(spec)).decode())
        return
    if not as_json:
        announce(spec, test.outside)
    finished: list[Finished] = []
    for number in range(test_count):
        each = msgspec.structs.replace(spec, seed=spec.seed + number)
        live = LiveLine(sys.stderr)
        finished.append(run_spec(each, catalog, store, progress=None if as_json else live))
        live.clear()
        if not as_json:
            tell(finished[-1])
    if as_json:
        rows = [run_row(one) for one in finished]
        click.echo(json.dumps(rows[0] if test_count == 1 else many(rows)))
    sys.exit(worst_exit([one.exit_code for one in finished]))


def _spec(given: dict[str, Any], catalog: Any) -> Any:
    from splitbrain.catalog import inside_model
    from splitbrain.commands.schedule import read_schedule
    from splitbrain.contracts.spec import TestSpec

    if given["nodes"] < 1:
        raise RequestError(f"--nodes {given['nodes']} must be at least 1")
    seed = given["seed"]
    if seed is None:
        import secrets

        seed = secrets.randbelow(1_000_000)
    spec = TestSpec(
        workload=given["workload"],
        system=given["system"],
        substrate=given["substrate"],
        nodes=tuple(f"n{i + 1}" for i in range(given["nodes"])),
        concurrency=_concurrency(given["concurrency"], given["nodes"]),
        rate_hz=given["rate"],
        time_limit_s=given["time_limit"],
        nemesis_interval_s=given["nemesis_interval"],
        seed=seed,
        bugs=given["bugs"],
        options=_options(given["options"]),
        load=given["load"],
    )
    asked = tuple(name for name in given["nemesis"].split(",") if name and name != "none")
    if asked == ("all",):
        asked = inside_model(spec, catalog)
    schedule = read_schedule(given["faults"], spec, catalog) if given["faults"] else ()
    return msgspec.structs.replace(spec, nemesis=asked, schedule=schedule)


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", help="register, cas-register or kv.")
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
@click.option("--engine", default="auto", show_default=True)
@click.option("--budget-seconds", type=float, default=60.0, show_default=True)
@click.option("--budget-mb", type=float, default=2048.0, show_default=True)
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write a report."
)
@LOAD
@JSON
@click.pass_context
def check(
    ctx: click.Context,
    /,
    paths: tuple[Path, ...],
    as_json: bool,
    load: tuple[str, ...],
    **given: Any,
) -> None:
    """Judge run directories or history files."""
    ctx.meta["json"] = as_json
    from splitbrain import catalog as names
    from splitbrain.commands.check import CheckOptions, check_path
    from splitbrain.commands.judge import EXIT_CODES, worst_exit

    catalog = names.load(load, names.builtin())
    options = CheckOptions(
        model=given["model"],
        initial=_json_value(given["initial"]),
        nil_reads=given["nil_reads"],
        format=given["format_"],
        engine=given["engine"],
        budget_seconds=given["budget_seconds"],
        budget_mb=given["budget_mb"],
        report=given["report"],
    )
    checked = [check_path(path, options, catalog) for path in paths]
    if as_json:
        rows = [
            {"path": str(one.path), **result_row(one.result, one.sentence, one.operations)}
            for one in checked
        ]
        click.echo(json.dumps(rows[0] if len(rows) == 1 else many(rows)))
    else:
        for one in checked:
            for note in one.notes:
                click.echo(f"note: {note}", err=True)
            click.echo(f"{one.path}: {one.sentence}")
    sys.exit(worst_exit([EXIT_CODES[one.result.verdict] for one in checked]))


def _json_value(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


@main.command()
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Default: RUN/report.html."
)
@LOAD
def report(run_directory: Path, output: Path | None, load: tuple[str, ...]) -> None:
    """Write the HTML report of a run again; the verdict is taken as it stands."""
    from splitbrain import catalog as names
    from splitbrain.commands.judge import judge_run
    from splitbrain.commands.report import write_run_report
    from splitbrain.results.runs import read_run

    catalog = names.load(load, names.builtin())
    run = read_run(run_directory)
    result = run.result or judge_run(run.spec, run.history, catalog)
    path = output or run_directory / "report.html"
    write_run_report(run, result, catalog, path)
    click.echo(path)


@main.command()
@click.option(
    "--seconds", type=float, default=20.0, show_default=True, help="Length of each run."
)
@click.option("--seed", type=int, default=1, show_default=True)
@STORE
def demo(seconds: float, seed: int, store: Path) -> None:
    """A correct cluster under faults, then one with a seeded bug: two verdicts, two reports."""
    from splitbrain import catalog as names
    from splitbrain.commands.demo import run_demo
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

    code = run_demo(names.builtin(), store, told=told, begun=begun, seconds=seconds, seed=seed)
    sys.exit(code)


@main.command(name="list")
@click.argument("kind")
@JSON
@LOAD
@click.pass_context
def list_(ctx: click.Context, /, kind: str, as_json: bool, load: tuple[str, ...]) -> None:
    """List workloads, nemeses, checkers, models, systems, substrates, bugs or options."""
    ctx.meta["json"] = as_json
    from splitbrain import catalog as names
    from splitbrain.commands.listing import listing

    rows = listing(kind, names.load(load, names.builtin()))
    if as_json:
        click.echo(json.dumps(rows))
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
