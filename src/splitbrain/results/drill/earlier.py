"""Earlier drills of the same name, for the trend: found beside the present one, read leniently.

    store/drills/<name>/<time>/drill.json

Names of directories are times, so that their order is the order of the drills.  What cannot be read
(half-written, foreign, from a newer version) is passed over: a trend is no evidence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from splitbrain.results.drill.record import STATUSES, DrillRecord, Status

__all__ = ["DRILLS_MAX", "Earlier", "earlier_drills"]

DRILLS_MAX = 10
"""Most earlier drills that are read."""


class _Scenario(msgspec.Struct, frozen=True):
    name: str
    status: Status = "pending"


class _Record(msgspec.Struct, frozen=True):
    """As much of a drill's record as a trend needs."""

    name: str
    started: str = ""
    shard: str = ""
    finished: bool = False
    scenarios: tuple[_Scenario, ...] = ()


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """One earlier drill.

    Attributes:
        directory: name of its directory, beside the present one.
        statuses: of its scenarios, by name.
    """

    directory: str
    started: str
    finished: bool
    statuses: Mapping[str, Status]

    @property
    def worst(self) -> Status:
        """Its worst scenario."""
        found = set(self.statuses.values())
        return next((status for status in STATUSES if status in found), "skipped")

    def count(self, status: Status) -> int:
        """How many of its scenarios have a status."""
        return sum(1 for found in self.statuses.values() if found == status)


def earlier_drills(
    record: DrillRecord, directory: Path, limit: int = DRILLS_MAX
) -> tuple[Earlier, ...]:
    """The last ``limit`` drills of this name, and of the same shard, before this one; oldest first."""
    found: list[Earlier] = []
    with contextlib.suppress(OSError):
        names = [path.name for path in directory.parent.iterdir() if not path.is_symlink()]
        for name in sorted((one for one in names if one < directory.name), reverse=True):
            one = _read(directory.parent / name, record)
            if one is not None:
                found.append(one)
            if len(found) >= limit:
                break
    return tuple(reversed(found))


def _read(directory: Path, record: DrillRecord) -> Earlier | None:
    try:
        data = (directory / "drill.json").read_bytes()
        old = msgspec.json.decode(data, type=_Record)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if (old.name, old.shard) != (record.name, record.shard):
        return None
    return Earlier(
        directory=directory.name,
        started=old.started,
        finished=old.finished,
        statuses={scenario.name: scenario.status for scenario in old.scenarios},
    )
