"""Schedules of faults at fixed times: of a file, of a run, or one that a system ships.

A file holds one fault a line, as a run's ``faults.jsonl`` does:

    {"time_ns":3000000000,"f":"start-partition","parameters":{"shape":"isolate-leader"},"id":"p1"}
    {"time_ns":6000000000,"f":"stop-partition","id":"p1"}

A run's ``spec.json`` stands for the schedule that the run was given.  Whether a test can carry out
what is read here is said by ``fitting``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from splitbrain.catalog import Catalog, make_system
from splitbrain.contracts.spec import LeftOut, ScheduledFault, TestSpec
from splitbrain.errors import MalformedFile, RequestError
from splitbrain.results.runs import read_spec

__all__ = ["Entry", "Schedule", "find_schedule", "read_schedule"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of a schedule.

    Attributes:
        place: where it was written: its line in a file, else its number from 1.
    """

    fault: ScheduledFault
    place: int


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it was written.

    Attributes:
        name: the path of its file, or ``schedule NAME`` of a shipped one.
        lined: places are lines of a file.
        entries: in the order of their times.
        left_out: what an earlier run of the same faults did without.
    """

    name: str
    lined: bool
    entries: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...] = ()

    def malformed(self, place: int, problem: str) -> MalformedFile:
        """The error that names the entry at ``place``."""
        if self.lined:
            return MalformedFile(self.name, place, problem)
        return MalformedFile(self.name, None, f"fault {place}: {problem}")


def read_schedule(name: str, spec: TestSpec, catalog: Catalog) -> tuple[ScheduledFault, ...]:
    """The faults of ``find_schedule``, in the order of their times."""
    return tuple(entry.fault for entry in find_schedule(name, spec, catalog).entries)


def find_schedule(name: str, spec: TestSpec, catalog: Catalog) -> Schedule:
    """The schedule of that file or name.

    Raises:
        MalformedFile: a line that is no scheduled fault.
        RequestError: neither a file nor a shipped schedule.
    """
    path = Path(name)
    if path.is_file():
        if path.name == "spec.json":
            given = read_spec(path)
            return _numbered(str(path), given.schedule, given.left_out)
        return _read_file(path)
    system = make_system(spec, catalog)
    try:
        return _numbered(f"schedule {name}", system.schedule(name))
    except KeyError as error:
        shipped = sorted({bug.schedule for bug in system.bugs.values() if bug.schedule})
        near = difflib.get_close_matches(name, shipped, n=2) or shipped
        raise RequestError(
            f"--faults {name!r}: no such file, and {spec.system} ships no schedule of that name; "
            f"it ships {', '.join(near) or 'none'}"
        ) from error


def _numbered(
    name: str, faults: Iterable[ScheduledFault], left_out: tuple[LeftOut, ...] = ()
) -> Schedule:
    entries = [Entry(fault=fault, place=number) for number, fault in enumerate(faults, start=1)]
    return Schedule(name=name, lined=False, entries=_by_time(entries), left_out=left_out)


def _by_time(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.fault.time_ns))


def _read_file(path: Path) -> Schedule:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MalformedFile(path, None, f"cannot be read: {error.strerror}") from error
    decoder = msgspec.json.Decoder(ScheduledFault)
    entries = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            fault = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise MalformedFile(path, number, f"not a scheduled fault: {error}") from error
        if not fault.f.startswith(("start-", "stop-", "heal-")) or fault.time_ns < 0:
            raise MalformedFile(
                path, number, f"not a scheduled fault: f {fault.f!r} at {fault.time_ns} ns; f is "
                "start-FAULT or stop-FAULT, and time_ns is not negative"
            )  # fmt: skip
        entries.append(Entry(fault=fault, place=number))
    if not entries:
        raise MalformedFile(path, None, "holds no scheduled fault")
    return Schedule(name=str(path), lined=True, entries=_by_time(entries))
