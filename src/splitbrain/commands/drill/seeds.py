"""``seeds.toml``: seeds that did not come out as expected, beside the drill's file.

The next drill runs them first.  The file is for people too: entries may be added, and removed, by
hand.  A seed is forgotten once it has come out as expected five times in a row: in simulation one
pass would be enough, on real processes it says little.

    [smoke."registers/sim"]
    7 = { verdict = "invalid", since = "2026-11-25", passes = 0 }

Several drills may share one file.  Whoever changes it holds a lock on its directory, reads it anew,
and replaces it in one step, so that no entry is lost and no reader sees a part of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.commands.drill.lines import line_index, line_of
from splitbrain.errors import HostError, MalformedFile
from splitbrain.results.runs import write_bytes

__all__ = ["PASSES_TO_FORGET", "Failing", "Outcome", "SeedFile", "read_seeds"]

PASSES_TO_FORGET = 5
"""So many passes in a row, and a seed is no longer run first."""

_LOCK_TRIES, _LOCK_WAIT_S = 500, 0.02
"""A lock is held for some milliseconds; ten seconds without it means that its holder hangs."""

_HEADER = f"""\
# Seeds that did not come out as expected; splitbrain drill runs them first.
# An entry goes after {PASSES_TO_FORGET} passes in a row, or when you remove it.
"""


class Failing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is remembered of a seed.

    Attributes:
        verdict: what it came to when it last failed.
        since: the day of its first failure.
        passes: how often in a row it has passed since the last one.
        note: for people; kept.
    """

    verdict: str = ""
    since: str = ""
    passes: int = 0
    note: str = ""


Entries = dict[str, dict[str, dict[int, Failing]]]
"""Drill -> scenario -> seed -> what is remembered."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a seed.

    Attributes:
        word: its verdict, or what was wrong with one that was expected (a figure ``missed`` ...).
        passed: all was as expected.
        day: today.
    """

    scenario: str
    seed: int
    word: str
    passed: bool
    day: str = ""


def read_seeds(path: Path) -> Entries:
    """The entries of a file; none if there is no file.

    Raises:
        MalformedFile: it is not what it should be; the line is named.
    """
    try:
        text = path.read_bytes().decode()
        raw = tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise MalformedFile(path, None, f"cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        match = re.search(r"at line (\d+)", str(error))
        line = int(match[1]) if match else None
        raise MalformedFile(path, line, f"not a file of seeds: {error}") from error
    where = line_index(text)

    def broken(*at: str) -> MalformedFile:
        words = '[drill."scenario"] with lines such as 7 = { verdict = "invalid" } are needed'
        return MalformedFile(path, line_of(where, at), f"{'.'.join(at)}: {words}")

    entries: Entries = {}
    for drill, scenarios in raw.items():
        if not isinstance(scenarios, dict):
            raise broken(drill)
        for scenario, seeds in scenarios.items():
            if not isinstance(seeds, dict):
                raise broken(drill, scenario)
            for seed, entry in seeds.items():
                if not re.fullmatch(r"\d{1,18}", seed, re.ASCII):
                    raise broken(drill, scenario, seed)
                try:
                    failing = msgspec.convert(entry, Failing)
                except msgspec.ValidationError as error:
                    raise broken(drill, scenario, seed) from error
                entries.setdefault(drill, {}).setdefault(scenario, {})[int(seed)] = failing
    return entries


class SeedFile:
    """The file, as one drill uses it."""

    def __init__(self, path: Path, drill: str) -> None:
        self.path = path
        self._drill = drill

    def remembered(self) -> Mapping[str, tuple[int, ...]]:
        """Seeds that failed before, by scenario.

        Raises:
            MalformedFile: it is not what it should be.
        """
        own = read_seeds(self.path).get(self._drill, {})
        return {scenario: tuple(sorted(seeds)) for scenario, seeds in own.items()}

    def tell(self, outcome: Outcome) -> None:
        """Remember a failure, count a pass, or forget what has passed often enough.

        Raises:
            MalformedFile: somebody has broken the file meanwhile.
            HostError: it cannot be written.
        """
        try:
            with _locked(self.path.parent):
                entries = read_seeds(self.path)
                if _changed(entries, self._drill, outcome):
                    write_bytes(self.path, _toml(entries).encode())
        except OSError as error:
            raise HostError(f"cannot write {self.path}: {error.strerror}") from error


def _changed(entries: Entries, drill: str, outcome: Outcome) -> bool:
    seeds = entries.setdefault(drill, {}).setdefault(outcome.scenario, {})
    before = seeds.get(outcome.seed)
    if not outcome.passed:
        base = before or Failing(since=outcome.day)
        seeds[outcome.seed] = msgspec.structs.replace(base, verdict=outcome.word, passes=0)
    elif before is not None and before.passes + 1 >= PASSES_TO_FORGET:
        del seeds[outcome.seed]
    elif before is not None:
        seeds[outcome.seed] = msgspec.structs.replace(before, passes=before.passes + 1)
    return seeds.get(outcome.seed) != before


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Alone among all who change files of seeds here; the lock leaves no file behind."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for attempt in range(_LOCK_TRIES + 1):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == _LOCK_TRIES:
                    raise
                time.sleep(_LOCK_WAIT_S)
        yield
    finally:
        os.close(handle)


def _toml(entries: Entries) -> str:
    """The file's text.

    >>> print(_toml({"a": {"b c": {7: Failing(verdict="invalid", since="2026-11-25")}}})[-72:])
    [a."b c"]
    7 = { verdict = "invalid", since = "2026-11-25", passes = 0 }
    <BLANKLINE>
    """
    parts = [_HEADER]
    for drill, scenarios in sorted(entries.items()):
        for scenario, seeds in sorted(scenarios.items()):
            if seeds:
                lines = [f"{seed} = {_inline(seeds[seed])}" for seed in sorted(seeds)]
                header = f"[{_key(drill)}.{_key(scenario)}]"
                parts.append("\n".join([header, *lines]) + "\n")
    return "\n".join(parts)


def _inline(entry: Failing) -> str:
    fields: dict[str, Any] = {
        "verdict": _quoted(entry.verdict),
        "since": _quoted(entry.since),
        "passes": entry.passes,
    }
    if entry.note:
        fields["note"] = _quoted(entry.note)
    return "{ " + ", ".join(f"{name} = {value}" for name, value in fields.items()) + " }"


def _key(word: str) -> str:
    return word if re.fullmatch(r"[A-Za-z0-9_-]+", word) else _quoted(word)


def _quoted(text: str) -> str:
    """A TOML string: as JSON's, but no escape for what is beyond ASCII, and one for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
