"""``splitbrain export``: a history in another form, with nothing lost on the way.

    splitbrain export store/latest --format edn -o history.edn     for Jepsen's tools
    splitbrain export history.edn --format jsonl                   for jq, pandas, splitbrain

What it reads is a run directory, or a history file of any form that ``check`` reads.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

import msgspec

from splitbrain.errors import HostError, RequestError, UnknownName
from splitbrain.history import formats
from splitbrain.history.edn_write import write_lines
from splitbrain.history.jsonl import encode_op
from splitbrain.history.op import Op
from splitbrain.results.runs import is_run, read_spec

__all__ = ["FORMATS", "Exported", "export"]

FORMATS: Final = ("edn", "jsonl")
_BATCH: Final = 4096


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written.

    Attributes:
        events: invocations and completions.
        notes: what was left out, such as a last line that was cut short.
    """

    events: int
    notes: tuple[str, ...] = ()


def export(
    path: Path,
    to: Path | TextIO,
    *,
    format: str,  # noqa: A002 (the word of --format)
    source: str = "auto",
    independent: bool = False,
) -> Exported:
    """Write the history of a run directory or file.

    Args:
        path: where it lies.
        to: a file, which is replaced only once all was written, or an open stream.
        format: one of FORMATS.
        source: the form of a file, as ``--format`` of ``check``.
        independent: an EDN file's values are ``[key value]``, though it does not say so.

    Raises:
        RequestError: no such path, a malformed file, an unknown form.
        HostError: ``to`` cannot be written.
    """
    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    recorded = formats.read(*_source(path, source), independent=independent)
    if isinstance(to, Path):
        _replace(to, recorded.history, format)
    else:
        _write(to, recorded.history, format)
    return Exported(events=len(recorded.history), notes=recorded.notes)


def _source(path: Path, source: str) -> tuple[Path, str]:
    """The history file, and its form."""
    if not path.exists():
        raise RequestError(f"{path}: no such file or directory")
    if not path.is_dir():
        return path, source
    if not is_run(path):
        raise RequestError(f"{path}: not a run directory (it has no spec.json)")
    read_spec(path / "spec.json")  # refuses what a newer version wrote
    return path / "history.jsonl", "jsonl"


def _write(stream: TextIO, ops: Iterable[Op], format_: str) -> None:
    if format_ == "edn":
        write_lines(stream, ops)
        return
    rest = iter(ops)
    while batch := list(islice(rest, _BATCH)):
        stream.write("".join([f"{encode_op(op).decode()}\n" for op in batch]))


def _replace(path: Path, ops: Iterable[Op], format_: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with fresh.open("w", encoding="utf-8", newline="") as file:
            _write(file, ops, format_)
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise HostError(f"cannot write {path}: {error.strerror}") from error
