"""One event of a history: an operation's invocation or its completion.

The four types are Jepsen's.  ``invoke`` begins an operation; ``ok`` says that it happened, ``fail``
that it certainly did not, ``info`` that nobody knows: it stays concurrent with everything after it.
A *process* is a logical single-threaded client; the nemesis is process -1 and all of its events are
``info``.  After an ``info`` a worker goes on as a new process, its number raised by the concurrency.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

__all__ = ["NEMESIS", "Op", "OpType"]

OpType = Literal["invoke", "ok", "fail", "info"]

NEMESIS = -1
"""The process number of the nemesis."""


class Op(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event.

    Attributes:
        index: position in the history, from 0, dense.
        time_ns: monotonic nanoseconds since the test began.
        process: logical client, or NEMESIS.
        type: invoke, ok, fail or info.
        f: the function, such as ``read``, ``write``, ``cas``, ``start-partition``.
        key: the object operated on, or None.
        value: argument on invocation, result on completion (JSON-able).
        node: the node that the worker's client is bound to, or None.
        error: why a completion is not ok: a short word, then optionally ``: detail``.
        ext: what one system adds, such as ``start_ts`` or ``observed``.
    """

    index: int = -1
    time_ns: int = -1
    process: int
    type: OpType
    f: str
    key: Any = None
    value: Any = None
    node: str | None = None
    error: str | None = None
    ext: Mapping[str, Any] | None = None
