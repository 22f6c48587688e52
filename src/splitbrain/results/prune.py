"""Old runs and drills are removed from a store, by number, age or size; evidence is not.

    keep = Keep(runs=20, days=14, size_bytes=2 << 30)
    pruned = prune(Path("store"), keep, now_s=..., dry_run=True)
    for line in pruned.lines(): ...

What one test left (``store/<workload>/<time>``) is removed as a whole, and so is a drill with all
its runs (``store/drills/<name>/<time>``).  ``runs`` are kept of each name; ``size_bytes`` is that of
the whole store.  Never removed:

- the newest of each name, and what a ``latest`` link points to;
- the latest failure of each name: the newest that was not as expected, and the newest that was
  invalid (a run: not valid; a drill: not passed).  Runs with seeded bugs have names of their own, so
  that an invalid that was planted does not stand in for one that was not;
- what is not finished, or not ours: directories of other names, half-written, malformed or written by a
  newer version.  They are told by name.

A directory is renamed before it is emptied, so that nobody meets half of it under its name; what a
killed pruning left is removed by the next.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from splitbrain.checkers.verdict import Verdict
from splitbrain.errors import MalformedFile, NewerStore
from splitbrain.results.drill.record import DrillRecord
from splitbrain.results.runs import is_run, read_spec

__all__ = ["Entry", "Keep", "Pruned", "choose", "prune", "survey"]

_T = TypeVar("_T")
DRILLS = "drills"
_STAMP = re.compile(r"(\d{8}T\d{6}\.\d{3})(-\d+)?")
_Look = Callable[[Path], tuple[str, bool, bool]]
_GOING = ".pruned-"
"""Begins the name of what is being removed."""


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be kept; None: no limit of that kind.

    Attributes:
        runs: newest runs (drills) of each name.
        days: age in days.
        size_bytes: size of everything in the store.
    """

    runs: int | None = None
    days: float | None = None
    size_bytes: int | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One run or one drill that may be removed.

    Attributes:
        group: runs of one name; see the module.
        time_s: when it began, in seconds since 1970.
        failed: it was not as expected.
        invalid: it was found invalid (a drill: failed) where that was not expected.
        pointed: a ``latest`` link points to it.
    """

    path: Path
    group: str
    time_s: float
    size_bytes: int
    failed: bool
    invalid: bool
    pointed: bool = False


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed (or would be), and what was left and why."""

    removed: tuple[Entry, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """How much was freed."""
        return sum(entry.size_bytes for entry in self.removed)


def prune(store: Path, keep: Keep, *, now_s: float, dry_run: bool = False) -> Pruned:
    """Remove what need not be kept; what cannot be removed is told among ``left``."""
    entries, other_bytes, left = survey(store)
    chosen = choose(entries, keep, now_s=now_s, other_bytes=other_bytes)
    removed = []
    if not dry_run:
        _empty(store.glob(f"*/{_GOING}*"), store.glob(f"{DRILLS}/*/{_GOING}*"))
    for entry in chosen:
        problem = None if dry_run else _remove(entry.path)
        if problem:
            left.append(f"{entry.path}: cannot be removed: {problem}")
        else:
            removed.append(entry)
    return Pruned(removed=tuple(removed), left=tuple(left))


def choose(
    entries: Sequence[Entry], keep: Keep, *, now_s: float, other_bytes: int = 0
) -> tuple[Entry, ...]:
    """What goes, oldest first: a pure function of what there is.

    ``other_bytes`` is what the store holds beside the entries.
    """
    safe = _protected(entries)
    newest_first = sorted(entries, key=_age_order, reverse=True)
    rank: dict[str, int] = {}
    going: set[Path] = set()
    for entry in newest_first:
        rank[entry.group] = rank.get(entry.group, 0) + 1
        too_many = keep.runs is not None and rank[entry.group] > keep.runs
        too_old = keep.days is not None and now_s - entry.time_s > keep.days * 86400
        if (too_many or too_old) and entry.path not in safe:
            going.add(entry.path)
    if keep.size_bytes is not None:
        held = other_bytes + sum(one.size_bytes for one in entries if one.path not in going)
        for entry in reversed(newest_first):
            if held <= keep.size_bytes:
                break
            if entry.path not in safe and entry.path not in going:
                going.add(entry.path)
                held -= entry.size_bytes
    return tuple(entry for entry in reversed(newest_first) if entry.path in going)


def _age_order(entry: Entry) -> tuple[float, str]:
    return entry.time_s, str(entry.path)


def _protected(entries: Sequence[Entry]) -> set[Path]:
    """Of each group the newest, the newest failed and the newest invalid; and what is pointed to."""
    last: dict[tuple[str, str], Path] = {}
    for entry in sorted(entries, key=_age_order):
        last[entry.group, "any"] = entry.path
        if entry.failed:
            last[entry.group, "failed"] = entry.path
        if entry.invalid:
            last[entry.group, "invalid"] = entry.path
    return {*last.values(), *(entry.path for entry in entries if entry.pointed)}


def survey(store: Path) -> tuple[tuple[Entry, ...], int, list[str]]:
    """What a store holds: entries, the bytes of all else, and what is left alone and why."""
    entries: list[Entry] = []
    left: list[str] = []
    other_bytes = 0
    for directory, latest, look in _candidates(store):
        size = _size(directory)
        try:
            entry = _entry(directory, latest, look, size)
        except _LeftAlone as why:
            left.append(f"{directory}: {why}; left alone")
            other_bytes += size
        else:
            entries.append(entry)
    return tuple(entries), other_bytes, left


class _LeftAlone(Exception):
    """This directory is not to be touched."""


def _candidates(store: Path) -> Iterator[tuple[Path, Path, _Look]]:
    """Each directory that may be a run or a drill, the link to the newest, and how to look at it."""
    for name in _directories(store):
        for directory in _directories(name):
            if name.name == DRILLS and not is_run(directory):
                for drill in _directories(directory):
                    yield drill, directory / "latest", _drill
            else:
                yield directory, store / "latest", _run


def _directories(parent: Path) -> list[Path]:
    """Directories in it, but for links and what begins with a dot."""
    try:
        found = sorted(parent.iterdir())
    except OSError:
        return []
    return [
        path
        for path in found
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
    ]


def _entry(directory: Path, latest: Path, look: _Look, size: int) -> Entry:
    match = _STAMP.fullmatch(directory.name)
    try:
        began = datetime.strptime(match[1] if match else "", "%Y%m%dT%H%M%S.%f")
    except ValueError as error:
        raise _LeftAlone("not a name that splitbrain gives") from error
    group, failed, invalid = look(directory)
    return Entry(
        path=directory,
        group=group,
        time_s=began.replace(tzinfo=UTC).timestamp(),
        size_bytes=size,
        failed=failed,
        invalid=invalid,
        pointed=_points_to(latest, directory),
    )


class _Verdict(msgspec.Struct):
    verdict: Verdict


def _run(directory: Path) -> tuple[str, bool, bool]:
    """Group, failed and invalid of a finished run."""
    try:
        spec = read_spec(directory / "spec.json")
    except NewerStore as error:
        raise _LeftAlone("written by a newer splitbrain") from error
    except MalformedFile as error:
        raise _LeftAlone("not a whole run (its spec.json cannot be read)") from error
    if not (directory / "result.json").is_file() or not (directory / "report.html").is_file():
        raise _LeftAlone("not finished, or not judged")
    verdict = _decoded(directory / "result.json", _Verdict).verdict
    group = "/".join([directory.parent.name, spec.system, *sorted(spec.bugs)])
    return group, verdict != "valid", verdict == "invalid"


def _drill(directory: Path) -> tuple[str, bool, bool]:
    """Group, failed and invalid of a finished drill."""
    if not (directory / "drill.json").is_file():
        raise _LeftAlone("not a whole drill (it has no drill.json)")
    record = _decoded(directory / "drill.json", DrillRecord)
    if not record.finished:
        raise _LeftAlone("a drill that is not finished")
    counts = record.counts()
    failed = any(counts[status] for status in ("failed", "error", "unknown"))
    return f"{DRILLS}/{directory.parent.name}", failed, counts["failed"] > 0


def _decoded(path: Path, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _LeftAlone(f"its {path.name} cannot be read") from error


def _points_to(link: Path, directory: Path) -> bool:
    try:
        return link.is_symlink() and link.resolve() == directory.resolve()
    except OSError:
        return False


def _size(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def _remove(path: Path) -> str | None:
    """Remove a directory; returns what went wrong, None if it is gone."""
    going = path.with_name(f"{_GOING}{path.name}")
    try:
        path.rename(going)
        shutil.rmtree(going)
    except FileNotFoundError:
        return None  # another pruning was faster
    except OSError as error:
        return str(error.strerror)
    return None


def _empty(*remains: Iterable[Path]) -> None:
    """Remove what a killed pruning has left."""
    for some in remains:
        for path in some:
            shutil.rmtree(path, ignore_errors=True)
