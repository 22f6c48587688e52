"""The run directory: where a test's history is written as it happens, and read from again.

store/<workload>/<time>/
    spec.json        the TestSpec; on sim it reproduces the run
    history.jsonl    every operation, as it happened
    faults.jsonl     the schedule of faults, as it happened
    events.jsonl     what nodes said of themselves
    journal.jsonl    acts on the machine and their undoing (real substrates)
    logs/            one log a node
    result.json      the verdict; made from the above, and can be made again
    report.html      likewise
store/latest -> the newest run
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.checkers.verdict import Result
from splitbrain.contracts.spec import FORMAT, ScheduledFault, TestSpec
from splitbrain.errors import HostError, MalformedFile, NewerStore
from splitbrain.history.history import History
from splitbrain.history.jsonl import JsonlWriter, read_history
from splitbrain.history.op import NEMESIS, Op

__all__ = [
    "Run",
    "RunRecorder",
    "create_run",
    "is_run",
    "read_run",
    "read_spec",
    "write_result",
]

_TAIL_LINES = 40
_TAIL_BYTES = 64 * 1024


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run as read from disk.

    Attributes:
        notes: what was left out while reading.
        log_tails: node name -> last lines of its log.
        result: the verdict, if one was written.
    """

    path: Path
    spec: TestSpec
    history: History
    faults: tuple[ScheduledFault, ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    log_tails: Mapping[str, Sequence[str]] = {}
    result: Result | None = None
    notes: tuple[str, ...] = ()

    @property
    def operations(self) -> int:
        """How many client operations were invoked."""
        return sum(1 for op in self.history if op.type == "invoke" and op.process != NEMESIS)

    @property
    def seconds(self) -> float:
        """The time of the last event, on the substrate's clock."""
        return self.history[-1].time_ns / 1e9 if len(self.history) else 0.0


class RunRecorder:
    """Writes a running test into its directory (``contracts.test.Recorder``)."""

    def __init__(self, directory: Path) -> None:
        self._history = JsonlWriter(directory / "history.jsonl")
        self._faults = JsonlWriter(directory / "faults.jsonl")
        self._events = JsonlWriter(directory / "events.jsonl")

    def op(self, op: Op) -> None:
        """One event of the history; the driver flushes within 10 ms."""
        self._history.write(op)

    def fault(self, fault: ScheduledFault) -> None:
        """One line of the schedule."""
        self._faults.write(fault)

    def event(self, event: Mapping[str, Any]) -> None:
        """One thing that a node said of itself."""
        self._events.write(event)

    def flush(self) -> None:
        """Hand all to the operating system."""
        self._history.flush()
        self._faults.flush()
        self._events.flush()

    def close(self) -> None:
        """Flush and close all files, each of them whatever befalls another."""
        with contextlib.ExitStack() as stack:
            for writer in (self._events, self._faults, self._history):
                stack.callback(writer.close)


def create_run(store: Path, spec: TestSpec) -> Path:
    """Make a fresh run directory that no other run shares, with its spec, and point ``latest`` at it.

    Raises:
        HostError: no permission, a full disk, or something in the way.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    parent = store / spec.workload
    try:
        parent.mkdir(parents=True, exist_ok=True)
        directory = _make_unique(parent, stamp)
        (directory / "logs").mkdir()
        write_bytes(directory / "spec.json", msgspec.json.format(msgspec.json.encode(spec)))
        _point_latest(store, directory)
    except OSError as error:
        raise HostError(
            f"cannot make a run directory below {store}: {error.strerror}; "
            "give another place with --store DIR"
        ) from error
    return directory


def _make_unique(parent: Path, stamp: str) -> Path:
    for attempt in range(1000):
        directory = parent / (stamp if not attempt else f"{stamp}-{attempt}")
        try:
            directory.mkdir()
        except FileExistsError:
            continue
        return directory
    raise HostError(f"{parent} holds a thousand runs of the same millisecond")


def _point_latest(store: Path, directory: Path) -> None:
    """Replace the link in one step, so that two runs at once leave one of the two."""
    fresh = store / f".latest-{os.getpid()}-{directory.name}"
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(directory.relative_to(store))
    fresh.replace(store / "latest")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Raises:
        HostError: no permission or a full disk.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise HostError(f"cannot write {path}: {error.strerror}") from error


def write_result(directory: Path, result: Result) -> None:
    """Write result.json."""
    write_bytes(
        directory / "result.json", msgspec.json.format(msgspec.json.encode(result)) + b"\n"
    )


def is_run(path: Path) -> bool:
    """True if ``path`` is a run directory."""
    return (path / "spec.json").is_file()


def read_run(path: Path) -> Run:
    """Read a run directory.

    Raises:
        MalformedFile: a file in it is not what it should be.
        NewerStore: it was written by a newer version.
    """
    spec = read_spec(path / "spec.json")
    notes: list[str] = []
    history_path = path / "history.jsonl"
    if history_path.exists():
        history, more = read_history(history_path)
        notes.extend(more)
    else:
        history = History(())
        notes.append(f"{history_path} does not exist: the run ended before its first operation")
    return Run(
        path=path,
        spec=spec,
        history=history,
        faults=tuple(_read_lines(path / "faults.jsonl", ScheduledFault, notes)),
        events=tuple(_read_lines(path / "events.jsonl", dict[str, Any], notes)),
        log_tails=_read_tails(path / "logs"),
        result=_read_result(path / "result.json", notes),
        notes=tuple(notes),
    )


def read_spec(path: Path) -> TestSpec:
    """Read a spec.json.

    Raises:
        MalformedFile: it is not there, or no spec.
        NewerStore: a newer version wrote it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MalformedFile(path, None, f"not a run directory: {error.strerror}") from error
    try:
        raw = msgspec.json.decode(data, type=dict[str, Any])
        if int(raw.get("format", FORMAT)) > FORMAT:
            raise NewerStore(
                f"{path.parent}: written by a newer splitbrain (format {raw['format']}, this one "
                f"reads up to {FORMAT}); upgrade splitbrain to read it"
            )
        return msgspec.json.decode(data, type=TestSpec)
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise MalformedFile(path, None, f"not a test's spec: {error}") from error


def _read_lines(path: Path, kind: Any, notes: list[str]) -> list[Any]:
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        notes.append(f"{path}: the last line has no newline and was dropped")
    decoder = msgspec.json.Decoder(kind)
    records = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            records.append(decoder.decode(line))
        except msgspec.MsgspecError as error:
            raise MalformedFile(path, number, str(error)) from error
    return records


def _read_tails(directory: Path) -> dict[str, Sequence[str]]:
    tails: dict[str, Sequence[str]] = {}
    if not directory.is_dir():
        return tails
    for path in sorted(directory.glob("*.log")):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        tails[path.stem] = lines[-_TAIL_LINES:]
    return tails


def _read_result(path: Path, notes: list[str]) -> Result | None:
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except msgspec.MsgspecError as error:
        notes.append(f"{path} cannot be read and is passed over: {error}")
        return None
