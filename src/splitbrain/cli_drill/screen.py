"""What a drill prints while it runs, and at its end."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from splitbrain.cli_drill.words import (
    drill_row,
    plain_table,
    plan_rows,
    plan_words,
    print_table,
    seed_words,
    summary,
)
from splitbrain.commands.drill.durations import duration_words
from splitbrain.commands.drill.plan import Plan
from splitbrain.commands.drill.runner import Told
from splitbrain.commands.drill.whole import Ended
from splitbrain.live import LiveLine

__all__ = ["Screen", "tell_plan"]


def tell_plan(plan: Plan, *, as_json: bool) -> None:
    """Say what would be run."""
    rows = plan_rows(plan)
    if as_json:
        seconds = round(plan.seconds)
        click.echo(json.dumps({"name": plan.drill.name, "seconds": seconds, "scenarios": rows}))
        return
    click.echo(plan_words(plan))
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        first = (
            f", first {', '.join(map(str, row['repeated']))} again" if row["repeated"] else ""
        )
        click.echo(
            f"line {row['line']:3}  {row['name']:{width}}  {row['workload']} on {row['on']}, faults: "
            f"{', '.join(row['nemesis']) or 'none'}, expect {row['expect']}, seeds "
            f"{seed_words(row['seeds'])}{first}, about {duration_words(row['seconds'])}"
        )


class Screen:
    """What a drill prints."""

    def __init__(self, plan: Plan, *, as_json: bool) -> None:
        self._plan = plan
        self._json = as_json
        self._live = LiveLine(sys.stderr)
        self._is_live = sys.stderr.isatty() and not as_json
        self._width = max((len(one.name) for one in plan.drill.scenarios), default=0)

    def begin(self) -> None:
        """The drill starts."""
        self._say(plan_words(self._plan))

    def _say(self, text: str) -> None:
        self._live.clear()
        click.echo(text, err=self._json)

    def progress(self) -> Any:
        """Where the next run tells its progress: a live line, on a terminal only."""
        if not self._is_live:
            return None
        self._live.restart()
        return self._live

    def complain(self, text: str) -> None:
        """Something could not be written."""
        self._live.clear()
        click.echo(f"splitbrain: {text}", err=True)

    def told(self, told: Told) -> None:
        """A run is over."""
        run, scenario = told.run, told.scenario
        again = ", again" if run.repeated else ""
        # Where some seeds are allowed to miss the bug, one that does has not failed.
        missed = told.status == "failed" and scenario.found is not None
        status = "missed" if missed else told.status
        self._say(
            f"{told.number:4}/{told.total} {status:7} {scenario.name:{self._width}}  "
            f"seed {run.seed}{again}: {run.verdict}, {duration_words(run.seconds)}"
        )
        if told.status == "passed" or missed:
            return
        lines = list(run.missed)
        if run.verdict != scenario.expect:
            lines.insert(0, f"expected {scenario.expect}: {run.sentence}")
        lines += [f"run    {run.directory}"] if run.directory else []
        lines += [f"again  {run.again}"] if run.again else []
        self._say("\n".join(f"          {line}" for line in lines))

    def end(self, ended: Ended) -> None:
        """The drill is over."""
        if self._json:
            click.echo(json.dumps(drill_row(ended)))
        elif sys.stdout.isatty():
            print_table(ended)
        else:
            click.echo(plain_table(ended))
        self._say(summary(ended))
        for line in ended.pruned.left if ended.pruned is not None else ():
            click.echo(f"note: {line}", err=True)
