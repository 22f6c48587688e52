"""Schedules of faults at fixed times: from a file of JSON lines, or one that a system ships."""

from __future__ import annotations

from pathlib import Path

import msgspec

from splitbrain.catalog import Catalog
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.contracts.system import System
from splitbrain.errors import MalformedFile, RequestError

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
    system: System = catalog.systems[spec.system]()
    try:
        return tuple(system.schedule(name))
    except KeyError as error:
        raise RequestError(
            f"--faults {name!r}: no such file, and {spec.system} ships no schedule of that name"
        ) from error


def _read_file(path: Path) -> tuple[ScheduledFault, ...]:
    decoder = msgspec.json.Decoder(ScheduledFault)
    faults = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            faults.append(decoder.decode(line))
        except msgspec.MsgspecError as error:
            raise MalformedFile(path, number, f"not a scheduled fault: {error}") from error
    return tuple(sorted(faults, key=lambda fault: fault.time_ns))
