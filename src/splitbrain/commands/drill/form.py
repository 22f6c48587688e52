"""A drill's file as it is written: its scenarios, defaults filled in, each key with its line.

    name = "nightly"                     # default: the file's name

    [defaults]                           # for every scenario; all keys but name
    time-limit = 60

    [[scenario]]
    name = "registers"
    workload = ["register", "cas-register"]      # a list: one scenario for each
    on = ["sim", "local"]
    nemesis = ["partition,kill", "all", "none"]  # three alternatives; a comma joins
    seeds = "1..20"
    accept = { lost = 0, recovery-seconds = 15 }

    [[scenario]]
    name = "stale read is found"
    workload = "register"
    on = "sim"
    bugs = ["local-leader-read"]
    nemesis = "partition"
    options = { op-timeout = 0.5, read-share = 0.7 }
    seeds = "1..20"
    expect = "invalid"
    found = 10                           # by at least so many seeds; default: by all
    kinds = ["stale-read"]               # one of these anomalies each time

This module knows the keys and the types of their values, not what the names in them mean: that is
told by ``matrix``.  Paths in ``load`` and ``faults`` are relative to the file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.commands.drill.lines import TomlPath, line_index, line_of
from splitbrain.commands.drill.problems import MalformedDrill, Problem, unknown_key
from splitbrain.commands.drill.values import READERS, Accept
from splitbrain.errors import MalformedFile
from splitbrain.results.drill.record import Expect

__all__ = ["DrillForm", "ScenarioForm", "read_form"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ScenarioForm(msgspec.Struct, frozen=True, kw_only=True):
    """One ``[[scenario]]``; lists of workload, on and nemesis still stand for many.

    Attributes:
        line: of its header.
        where: key (of options: ``options.NAME``) -> line.
        found: by how many seeds an expected invalid must be found; None: by all.
    """

    name: str
    line: int
    where: Mapping[str, int]
    workload: tuple[str, ...]
    system: str = "minitikv"
    on: tuple[str, ...] = ("local",)
    nemesis: tuple[tuple[str, ...], ...] = ((),)
    nemesis_interval: float | None = None
    faults: str | None = None
    skip_unsupported: bool = False
    seeds: tuple[int, ...] = (1,)
    bugs: tuple[str, ...] = ()
    options: Mapping[str, str | int | float | bool] = {}
    nodes: int = 5
    concurrency: str = "10"
    rate: float = 100.0
    time_limit: float = 60.0
    load: tuple[str, ...] = ()
    expect: Expect = "valid"
    accept: Accept = Accept()
    found: int | None = None
    kinds: tuple[str, ...] = ()


class DrillForm(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file."""

    path: Path
    name: str
    scenarios: tuple[ScenarioForm, ...]


def read_form(path: Path) -> tuple[DrillForm, tuple[Problem, ...]]:
    """Read a drill's file; what could be read is returned together with what is wrong.

    Raises:
        MalformedFile: it cannot be read at all.
        MalformedDrill: it is no TOML.
    """
    try:
        text = path.read_bytes().decode().replace("\r\n", "\n")
        raw = tomllib.loads(text)
    except OSError as error:
        raise MalformedFile(path, None, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MalformedFile(path, None, f"is not UTF-8 text: {error.reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise MalformedDrill(path, [_syntax(str(error), text)]) from error
    reader = _Reader(path, line_index(text))
    return reader.read(raw), tuple(reader.problems)


def _syntax(message: str, text: str) -> Problem:
    match = re.search(r" \(at line (\d+), column \d+\)$", message)
    line = int(match[1]) if match else max(1, text.count("\n"))
    words = message.removesuffix(match[0]) if match else message
    return Problem(line=line, text=f"not TOML: {words}")


class _Reader:
    """Goes through the values and gathers what is wrong with them."""

    def __init__(self, path: Path, lines: Mapping[TomlPath, int]) -> None:
        self.path = path
        self.lines = lines
        self.problems: list[Problem] = []

    def read(self, raw: Mapping[str, Any]) -> DrillForm:
        for key in raw.keys() - {"name", "defaults", "scenario"}:
            self._problem((key,), unknown_key(key, ["name", "defaults", "scenario"]))
        defaults = self._table(raw.get("defaults", {}), ("defaults",), "")
        return DrillForm(
            path=self.path,
            name=self._name(raw.get("name")),
            scenarios=self._scenarios(raw.get("scenario", []), defaults),
        )

    def _name(self, given: Any) -> str:
        if given is None:
            made = re.sub(r"[^A-Za-z0-9._-]+", "-", self.path.stem).strip("-._")
            return made[:100] or "drill"
        if not isinstance(given, str) or not _NAME.fullmatch(given):
            words = "letters, digits, dots, dashes and underscores (it names a directory)"
            self._problem(("name",), f"name = {given!r}: only {words}")
            return "drill"
        return given

    def _scenarios(self, raw: Any, defaults: Mapping[str, Any]) -> tuple[ScenarioForm, ...]:
        if not isinstance(raw, list) or not all(isinstance(one, dict) for one in raw):
            self._problem(("scenario",), "each scenario begins with [[scenario]]")
            return ()
        if not raw:
            self._problem((), "holds no [[scenario]]")
        forms = [self._scenario(one, number, defaults) for number, one in enumerate(raw)]
        return tuple(form for form in forms if form is not None)

    def _scenario(
        self, raw: dict[str, Any], number: int, defaults: Mapping[str, Any]
    ) -> ScenarioForm | None:
        at: TomlPath = ("scenario", number)
        name = raw.pop("name", None)
        if not isinstance(name, str) or not 0 < len(name) <= 100 or not name.isprintable():
            wrong = "has no name" if name is None else f"name = {name!r}: up to 100 characters"
            self._problem((*at, "name"), f"scenario {number + 1}: {wrong}")
            name = f"#{number + 1}"
        before = len(self.problems)
        own = self._table(raw, at, name)
        for key in ("options", "accept"):
            if key in own and key in defaults:
                own[key] = _merged(defaults[key], own[key])
        values = {**defaults, **own}
        if "workload" not in values and len(self.problems) == before:
            self._problem(at, "has no workload", name)
        if "workload" not in values or len(self.problems) > before:
            return None
        self._fit(own, values, at, name)
        values["load"] = tuple(_beside(self.path, one) for one in values.get("load", ()))
        faults = values.get("faults")
        if faults and not os.path.isabs(faults) and (self.path.parent / faults).is_file():
            values["faults"] = _beside(self.path, faults)
        return ScenarioForm(
            name=name,
            line=line_of(self.lines, at),
            where=self._where(at, values),
            **{key.replace("-", "_"): value for key, value in values.items()},
        )

    def _table(self, raw: Any, at: TomlPath, name: str) -> dict[str, Any]:
        """The keys of a scenario or of the defaults, each read by its reader."""
        if not isinstance(raw, dict):
            self._problem(at, "defaults = ...: write it as a table [defaults]", name)
            return {}
        values: dict[str, Any] = {}
        for key, value in raw.items():
            if key not in READERS:
                known = [*READERS, *(["name"] if name else [])]
                self._problem((*at, key), unknown_key(key, known), name)
                continue
            try:
                values[key] = READERS[key](value)
            except ValueError as error:
                self._problem((*at, key), f"{key}: {error}", name)
        return values

    def _fit(
        self, own: Mapping[str, Any], values: dict[str, Any], at: TomlPath, name: str
    ) -> None:
        """Keys that mean something only beside an expectation; defaults give way to it."""
        expect = values.get("expect", "valid")
        needs = {"accept": "valid", "found": "invalid", "kinds": "invalid"}
        for key, needed in needs.items():
            if key not in values or expect == needed:
                continue
            del values[key]
            if key in own:
                text = f'{key} goes with expect = "{needed}", not with "{expect}"'
                self._problem((*at, key), text, name)
        seeds = len(values.get("seeds", (1,)))
        if values.get("found", 0) > seeds:
            text = f"found = {values['found']}, but there are only {seeds} seeds"
            self._problem((*at, "found"), text, name)

    def _where(self, at: TomlPath, values: Mapping[str, Any]) -> dict[str, int]:
        where = {key: self._line(at, (key,)) for key in values}
        for name in values.get("options", {}):
            where[f"options.{name}"] = self._line(at, ("options", name))
        return where

    def _line(self, at: TomlPath, key: TomlPath) -> int:
        """Where a key is written: in the scenario, else in the defaults."""
        for path in ((*at, *key), ("defaults", *key), (*at, key[0]), ("defaults", key[0])):
            if path in self.lines:
                return self.lines[path]
        return line_of(self.lines, at)

    def _problem(self, path: TomlPath, text: str, scenario: str = "") -> None:
        line = line_of(self.lines, path)
        self.problems.append(Problem(line=line, scenario=scenario, text=text))


def _merged(default: Any, own: Any) -> Any:
    """Tables are filled up by the defaults, key by key."""
    if isinstance(own, Accept):
        given = {
            key: value
            for key, value in msgspec.structs.asdict(own).items()
            if value is not None
        }
        return msgspec.structs.replace(default, **given)
    return {**default, **own}


def _beside(file: Path, name: str) -> str:
    """A path written in a file, as seen from the working directory."""
    return name if os.path.isabs(name) else os.path.relpath(file.parent / name)
