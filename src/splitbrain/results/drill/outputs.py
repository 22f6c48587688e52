"""Everything that a drill leaves, written anew from its record after each scenario.

    write_outputs(record, directory, summary=Path(os.environ["GITHUB_STEP_SUMMARY"]))

    drill.json    the record itself; ``read_drill_record`` reads it back
    junit.xml     for CI servers
    summary.md    for people who read it there
    index.html    for people: the matrix, and a link to each run's report

Each file is replaced in one step, so that whoever reads it, or kills the drill, finds the old content
or the new one.  One that cannot be written does not keep the others from being written.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.errors import HostError, MalformedFile
from splitbrain.results.drill.earlier import earlier_drills
from splitbrain.results.drill.index import index_page
from splitbrain.results.drill.junit import junit
from splitbrain.results.drill.record import DrillRecord
from splitbrain.results.drill.step_summary import write_step_summary
from splitbrain.results.drill.summary import summary as summary_text
from splitbrain.results.runs import write_bytes
from splitbrain.results.text import visible

__all__ = ["read_drill_record", "record_json", "write_outputs"]


def write_outputs(record: DrillRecord, directory: Path, *, summary: Path | None = None) -> None:
    """Write drill.json, junit.xml, summary.md and index.html.

    Args:
        record: what the drill has come to so far.
        directory: where the files go; it exists.
        summary: a file in which the drill has a section beside what others write: GitHub's
            ``GITHUB_STEP_SUMMARY``.

    Raises:
        HostError: some could not be written, each with its reason; all others were.
    """
    makers: dict[str, Callable[[], bytes]] = {
        "drill.json": partial(record_json, record),
        "junit.xml": partial(junit, record),
        "summary.md": lambda: summary_text(record).encode(),
        "index.html": lambda: index_page(record, earlier_drills(record, directory)).encode(),
    }
    acts: list[Callable[[], None]] = [
        partial(_write, directory / name, make) for name, make in makers.items()
    ]
    if summary is not None:
        acts.append(partial(write_step_summary, record, summary))
    problems = []
    for act in acts:
        try:
            act()
        except HostError as error:
            problems.append(str(error))
    if problems:
        raise HostError("; ".join(problems))


def _write(path: Path, make: Callable[[], bytes]) -> None:
    write_bytes(path, make())


def record_json(record: DrillRecord) -> bytes:
    """What drill.json holds."""
    try:
        text = msgspec.json.encode(record)
    except UnicodeEncodeError:  # half a surrogate pair, in an error that some program wrote
        text = msgspec.json.encode(_shown(msgspec.to_builtins(record)))
    return msgspec.json.format(text) + b"\n"


def _shown(value: Any) -> Any:
    """The same value with every text made visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {_shown(key): _shown(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(inner) for inner in value]
    return value


def read_drill_record(directory: Path) -> DrillRecord:
    """Read the record of a drill back.

    Raises:
        MalformedFile: drill.json is not there, or not what it should be.
    """
    path = directory / "drill.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=DrillRecord)
    except OSError as error:
        raise MalformedFile(path, None, f"no drill's directory: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedFile(path, None, f"not a drill's record: {error}") from error
