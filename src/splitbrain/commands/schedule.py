"""Schedules of faults at fixed times: of a file, of a run, or one that a system ships.

A file holds one fault a line, as a run's ``faults.jsonl`` does:

    {"time_ns":3000000000,"f":"start-partition","parameters":{"shape":"isolate-leader"},"id":"p1"}
    {"time_ns":6000000000,"f":"stop-partition","id":"p1"}

A run's ``spec.json`` stands for the schedule that the run was given.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import msgspec

from splitbrain.catalog import Catalog, make_system
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.errors import MalformedFile, RequestError
from splitbrain.results.runs import read_spec

__all__ = ["read_schedule"]


def read_schedule(name: str, spec: TestSpec, catalog: Catalog) -> tuple[ScheduledFault, ...]:
    """The schedule of that name or file.

    Raises:
        MalformedFile: a line that is no scheduled fault.
        RequestError: neither a file nor a shipped schedule.
    """
    path = Path(name)
    if path.is_file():
        return _read_file(path)
    system = make_system(spec, catalog)
    try:
        return tuple(system.schedule(name))
    except KeyError as error:
        shipped = sorted({bug.schedule for bug in system.bugs.values() if bug.schedule})
        near = difflib.get_close_matches(name, shipped, n=2) or shipped
        raise RequestError(
            f"--faults {name!r}: no such file, and {spec.system} ships no schedule of that name; "
            f"it ships {', '.join(near) or 'none'}"
        ) from error


def _read_file(path: Path) -> tuple[ScheduledFault, ...]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MalformedFile(path, None, f"cannot be read: {error.strerror}") from error
    if path.name == "spec.json":
        return read_spec(path).schedule
    decoder = msgspec.json.Decoder(ScheduledFault)
    faults = []
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
        faults.append(fault)
    if not faults:
        raise MalformedFile(path, None, "holds no scheduled fault")
    return tuple(sorted(faults, key=lambda fault: fault.time_ns))
