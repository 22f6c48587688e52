"""A history file in any form that splitbrain reads, by the form's name or recognised.

Some forms say more than the events: which model the history is of, or how its reads are meant.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from splitbrain.errors import MalformedFile, UnknownName
from splitbrain.history.edn import read_edn
from splitbrain.history.history import History
from splitbrain.history.jsonl import read_history
from splitbrain.history.porcupine import ETCD_LINE, read_etcd_log, read_kv_text

__all__ = ["FORMATS", "Recorded", "read", "recognise"]

FORMATS: Final = ("jsonl", "edn", "etcd-log", "kv-text")


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A history, and what its form says beyond it.

    Attributes:
        history: the events.
        format: one of FORMATS.
        model: the linearizability model, if the form fixes it.
        options: for that model: ``initial``, and ``nil_reads`` (EDN: ``wildcard``, as Knossos
            takes an ok read of nil; pass ``value`` instead for a history of splitbrain's own).
        notes: what a reader of the verdict should know, such as a dropped last line.
    """

    history: History
    format: str
    model: str | None = None
    options: Mapping[str, Any] = {}
    notes: tuple[str, ...] = ()


def recognise(path: str | os.PathLike[str]) -> str:
    """The form of a file by its first line that says anything.

    Raises:
        MalformedFile: it cannot be read, or is none of them.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise MalformedFile(path, None, f"cannot be read: {error.strerror}") from error
    lines = (line.strip() for line in head.decode(errors="replace").splitlines())
    first = next((line for line in lines if line and not line.startswith(";")), "")
    if ETCD_LINE.fullmatch(first):
        return "etcd-log"
    if first.startswith('{"') or not first:
        return "jsonl"
    if first.startswith("{:process") and ":key " in first and ":index" not in first:
        return "kv-text"
    if first.startswith(("{", "[", "(", "#")):
        return "edn"
    raise MalformedFile(
        path, None, f"not a history in any known form; name it: --format {'|'.join(FORMATS)}"
    )


def read(
    path: str | os.PathLike[str],
    format: str = "auto",  # noqa: A002 (the word that users know from --format)
    *,
    independent: bool = False,
) -> Recorded:
    """Read a history file.

    Args:
        path: the file.
        format: one of FORMATS, or ``auto``.
        independent: for EDN, whether values are ``[key value]``.

    Raises:
        UnknownName: there is no such form.
        MalformedFile: the file is not of that form.
    """
    if format == "auto":
        return read(path, recognise(path), independent=independent)
    if format == "jsonl":
        history, notes = read_history(path)
        return Recorded(history=history, format=format, notes=notes)
    if format == "edn":
        history = read_edn(path, independent=independent)
        return Recorded(history=history, format=format, options={"nil_reads": "wildcard"})
    if format == "etcd-log":
        return Recorded(history=read_etcd_log(path), format=format, model="cas-register")
    if format == "kv-text":
        options = {"initial": ""}
        return Recorded(history=read_kv_text(path), format=format, model="kv", options=options)
    raise UnknownName("format", format, FORMATS)
