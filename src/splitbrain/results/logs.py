"""Lines of the nodes' logs around given moments of a test.

A log line's time is found in its beginning, in one of three forms:

    12.345678 started          seconds of the test (the simulator)
    04:50:12.345678 n1 ...     the machine's time of day, UTC (minitikv's processes)
    2026-11-25T04:50:12.345Z   date and time, UTC

The latter two are set against the test by ``started_wall_ns``: the machine's clock at time 0, which a
substrate tells as an event of kind ``test-start``.  A line without a time belongs to the one before it.
Logs may be large: the place is found by halving, and no more than a bounded part is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

__all__ = ["MARGIN_NS", "LogLine", "log_lines_around", "started_wall_ns", "windows_of"]

MARGIN_NS = 2_000_000_000
"""How long before and after a moment a line is of interest."""

_WINDOW_BYTES = 256 * 1024
_PROBE_BYTES = 16 * 1024
_LINE_MAX = 400
_DAY_NS = 86_400_000_000_000
_SECONDS = re.compile(r"\s*(\d{1,9})\.(\d{1,9})(?= )")
_DAYTIME = re.compile(r"(\d\d):(\d\d):(\d\d)\.(\d{1,9})\b")
_DATE = re.compile(
    r"\W{0,3}(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?Z?"
)

Reader = Callable[[str], int | None]


class LogLine(NamedTuple):
    """One line: when in the test, and its text without the time and the node's own name."""

    time_ns: int
    text: str


def started_wall_ns(events: Iterable[Mapping[str, Any]]) -> int | None:
    """What the machine's clock said at the test's time 0, if an event of the run tells it."""
    for event in events:
        wall_ns, time_ns = event.get("wall_ns"), event.get("time_ns")
        if event.get("kind") == "test-start" and isinstance(wall_ns, int):
            return wall_ns - (time_ns if isinstance(time_ns, int) else 0)
    return None


def windows_of(moments_ns: Iterable[int], margin_ns: int = MARGIN_NS) -> list[tuple[int, int]]:
    """The stretches of time within ``margin_ns`` of any moment, apart and in order.

    >>> windows_of([9, 1, 2], 2)
    [(-1, 4), (7, 11)]
    """
    found: list[tuple[int, int]] = []
    for moment in sorted(moments_ns):
        start, stop = moment - margin_ns, moment + margin_ns
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return found


def log_lines_around(
    directory: Path, moments_ns: Iterable[int], wall_ns: int | None = None
) -> dict[str, Sequence[LogLine]]:
    """Node -> its lines near the moments.  A file that cannot be read has none."""
    windows = windows_of(moments_ns)
    found: dict[str, Sequence[LogLine]] = {}
    for path in sorted(directory.glob("*.log")) if windows and directory.is_dir() else ():
        try:
            with path.open("rb") as file:
                lines = [
                    LogLine(line.time_ns, line.text.removeprefix(f"{path.stem} "))
                    for window in windows
                    for line in _window(file, path.stat().st_size, window, _reader(wall_ns))
                ]
        except OSError:
            continue
        if lines:
            found[path.stem] = lines
    return found


def _reader(wall_ns: int | None) -> Reader:
    """From a line's beginning to its moment of the test."""

    def read(line: str) -> int | None:
        if match := _SECONDS.match(line):
            return int(match[1]) * 1_000_000_000 + _fraction_ns(match[2])
        if wall_ns is None:
            return None
        if match := _DAYTIME.match(line):
            hours, minutes, seconds = (int(part) for part in match.groups()[:3])
            of_day = (hours * 3600 + minutes * 60 + seconds) * 1_000_000_000
            since = of_day + _fraction_ns(match[4]) - wall_ns % _DAY_NS
            # Runs are shorter than half a day; one may run past midnight.
            return (since + _DAY_NS // 2) % _DAY_NS - _DAY_NS // 2
        if match := _DATE.match(line):
            return _dated_ns(match) - wall_ns
        return None

    return read


def _fraction_ns(digits: str) -> int:
    return int(digits.ljust(9, "0"))


def _dated_ns(match: re.Match[str]) -> int:
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return 0
    return int(moment.timestamp()) * 1_000_000_000 + _fraction_ns(match[7] or "0")


def _rest(line: str) -> str:
    for pattern in (_SECONDS, _DAYTIME, _DATE):
        if match := pattern.match(line):
            return line[match.end() :].removeprefix(" ").rstrip()
    return line.rstrip()


def _window(file: BinaryIO, size: int, window: tuple[int, int], read: Reader) -> list[LogLine]:
    start, stop = window
    file.seek(_place(file, size, start, read))
    now, found = None, []
    for raw in file.read(_WINDOW_BYTES).decode("utf-8", errors="replace").splitlines():
        moment = read(raw[:80])
        now = now if moment is None else moment
        if now is None or now < start:
            continue
        if now > stop:
            break
        found.append(LogLine(now, _rest(raw)[:_LINE_MAX]))
    return found


def _place(file: BinaryIO, size: int, start_ns: int, read: Reader) -> int:
    """The beginning of a line before the first of the window, and near it."""
    low, high = 0, size
    while high - low > _PROBE_BYTES:
        middle = (low + high) // 2
        moment = _first_time(file, middle, read)
        if moment is not None and moment < start_ns:
            low = middle
        else:
            high = middle
    if low:
        file.seek(low)
        low += len(file.readline(_PROBE_BYTES))
    return low


def _first_time(file: BinaryIO, offset: int, read: Reader) -> int | None:
    """The time of the first whole line after ``offset`` that has one, looking a little ahead."""
    file.seek(offset)
    lines = file.read(_PROBE_BYTES).decode("utf-8", errors="replace").splitlines()[1:]
    return next((time for line in lines if (time := read(line[:80])) is not None), None)
