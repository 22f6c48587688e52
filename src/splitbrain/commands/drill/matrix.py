"""From a drill's file to its scenarios: the cross product, each one a spec that can be run.

Lists of workload, on and nemesis stand for one scenario each; where there is more than one of a
kind, its word joins the name:

    registers/cas-register/sim/partition+kill

Every spec is resolved here, before anything starts, so that a scenario that cannot be run is told
with the line of the key that is to blame.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from splitbrain import catalog as names
from splitbrain.catalog import Catalog
from splitbrain.commands.drill.durations import SEEDS_MAX
from splitbrain.commands.drill.form import DrillForm, ScenarioForm, read_form
from splitbrain.commands.drill.problems import MalformedDrill, Problem
from splitbrain.commands.drill.values import Accept
from splitbrain.commands.specify import make_spec
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import MalformedFile, SplitbrainError, UnknownName, Unsupported
from splitbrain.results.drill.record import Expect

__all__ = ["Catalogs", "Drill", "Scenario", "read_drill"]


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One workload on one substrate under one nemesis, to be run for each of its seeds.

    Attributes:
        name: unique in the drill.
        line: where it begins in the file.
        spec: the test, but for its seed.
        found: by how many seeds an expected invalid must be found; None: by all.
        kinds: an expected invalid shows one of these anomalies; empty: any.
        schedule: the name of its faults at fixed times; empty if there are none.
    """

    name: str
    line: int
    spec: TestSpec
    seeds: tuple[int, ...]
    expect: Expect = "valid"
    accept: Accept = Accept()
    found: int | None = None
    kinds: tuple[str, ...] = ()
    schedule: str = ""

    @property
    def faults(self) -> tuple[str, ...]:
        """What is done to it, for people."""
        return (*self.spec.nemesis, *([f"schedule {self.schedule}"] if self.schedule else []))


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """All scenarios of a file, in its order."""

    name: str
    path: Path
    scenarios: tuple[Scenario, ...]


class Catalogs:
    """The catalogue with the plug-ins of some files, each set of files loaded once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Catalog] = {}

    def of(self, load: tuple[str, ...]) -> Catalog:
        """The catalogue for a spec that loads these files."""
        if load not in self._known:
            self._known[load] = names.load(load, names.builtin())
        return self._known[load]


def read_drill(path: Path, catalogs: Catalogs) -> Drill:
    """Read and expand a drill's file.

    Raises:
        MalformedFile: it cannot be read.
        MalformedDrill: it holds mistakes; all of them are told.
    """
    form, found = read_form(path)
    problems = list(found)
    scenarios = [
        scenario for one in form.scenarios for scenario in _expand(one, catalogs, problems)
    ]
    problems += _twice(form, scenarios)
    runs = sum(len(scenario.seeds) for scenario in scenarios)
    if runs > SEEDS_MAX:
        problems.append(Problem(line=1, text=f"plans {runs} runs; at most {SEEDS_MAX}"))
    if problems:
        raise MalformedDrill(path, problems)
    return Drill(name=form.name, path=path, scenarios=tuple(scenarios))


def _expand(
    form: ScenarioForm, catalogs: Catalogs, problems: list[Problem]
) -> Iterator[Scenario]:
    """The scenarios that one entry stands for; what is wrong with one goes to ``problems``."""
    try:
        catalog = catalogs.of(form.load)
    except SplitbrainError as error:
        problems.append(_problem(form, error, "load"))
        return
    for workload, on, nemesis in itertools.product(form.workload, form.on, form.nemesis):
        try:
            spec = make_spec(_given(form, workload, on, nemesis), catalog)
            names.resolve(spec, catalog)
        except SplitbrainError as error:
            problems.append(_problem(form, error))
            continue
        yield Scenario(
            name=_name(form, workload, on, nemesis),
            line=form.line,
            spec=spec,
            seeds=form.seeds,
            expect=form.expect,
            accept=form.accept,
            found=form.found,
            kinds=form.kinds,
            schedule=Path(form.faults).stem if form.faults else "",
        )


def _name(form: ScenarioForm, workload: str, on: str, nemesis: tuple[str, ...]) -> str:
    parts = [form.name]
    if len(form.workload) > 1:
        parts.append(workload)
    if len(form.on) > 1:
        parts.append(on)
    if len(form.nemesis) > 1:
        parts.append("+".join(nemesis) or "none")
    return "/".join(parts)


def _given(
    form: ScenarioForm, workload: str, on: str, nemesis: tuple[str, ...]
) -> Mapping[str, Any]:
    """What ``splitbrain run`` would have been given."""
    return {
        "workload": workload,
        "system": form.system,
        "substrate": on,
        "nodes": form.nodes,
        "concurrency": form.concurrency,
        "rate": form.rate,
        "time_limit": form.time_limit,
        "nemesis": ",".join(nemesis),
        "nemesis_interval": form.nemesis_interval,
        "faults": form.faults,
        "skip_unsupported": form.skip_unsupported and form.faults is not None,
        "seed": form.seeds[0],
        "bugs": form.bugs,
        "options": [f"{name}={value}" for name, value in form.options.items()],
        "load": form.load,
    }


_BLAMED: Mapping[str, str] = {
    "workload": "workload",
    "system": "system",
    "substrate": "on",
    "fault": "nemesis",
    "scheduled fault": "faults",
    "bug": "bugs",
    "option": "options",
}
"""What an error is about -> the key that says it."""


def _problem(form: ScenarioForm, error: SplitbrainError, key: str = "") -> Problem:
    """What is wrong with a scenario, at the line of the key that is to blame."""
    text = " ".join(str(error).split())
    if isinstance(error, UnknownName):
        key = _BLAMED.get(error.kind, "")
        if f"options.{error.name}" in form.where:
            key = f"options.{error.name}"
    elif text.startswith(("option ", "options ")):
        key = "options." + text.split(" ", 1)[1].split("=", 1)[0]
    elif isinstance(error, MalformedFile):
        key = "faults"
    elif isinstance(error, Unsupported):
        key = "faults" if text.startswith("scheduled") else "nemesis"
    elif text.startswith("--"):  # of a word on the command line; here it is a key
        text = text.removeprefix("--")
        key = text.split(" ", 1)[0]
    line = form.where.get(key, form.where.get(key.split(".")[0], form.line))
    return Problem(line=line, scenario=form.name, text=text, exit_code=error.exit_code)


def _twice(form: DrillForm, scenarios: list[Scenario]) -> Iterator[Problem]:
    """Names that two scenarios have: in the file, or once their lists are multiplied."""
    first: dict[str, int] = {}
    for one in form.scenarios:
        if one.name in first:
            text = f"this name stands already at line {first[one.name]}"
            yield Problem(line=one.line, scenario=one.name, text=text)
        first.setdefault(one.name, one.line)
    base = {one.line: one.name for one in form.scenarios}
    made: dict[str, int] = {}
    for scenario in scenarios:
        line = made.setdefault(scenario.name, scenario.line)
        if base[line] != base[scenario.line]:
            text = f"the scenario at line {line} is called {scenario.name!r} too"
            yield Problem(line=scenario.line, scenario=base[scenario.line], text=text)
