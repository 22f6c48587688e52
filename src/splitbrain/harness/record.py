"""A recorder that keeps everything in memory: for tests, and for trying things out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.contracts.spec import ScheduledFault
from splitbrain.history.op import Op

__all__ = ["MemoryRecorder"]


class MemoryRecorder:
    """Implements ``contracts.test.Recorder`` by four lists.

    >>> recorder = MemoryRecorder()
    >>> recorder.op(Op(index=0, time_ns=5, process=0, type="invoke", f="read"))
    >>> [op.f for op in recorder.ops]
    ['read']
    """

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.faults: list[ScheduledFault] = []
        self.events: list[Mapping[str, Any]] = []
        self.flushed = 0

    def op(self, op: Op) -> None:
        """Keep one event of the history."""
        self.ops.append(op)

    def fault(self, fault: ScheduledFault) -> None:
        """Keep one fault."""
        self.faults.append(fault)

    def event(self, event: Mapping[str, Any]) -> None:
        """Keep one thing that a node said of itself."""
        self.events.append(event)

    def flush(self) -> None:
        """Remember how much would be on disk now."""
        self.flushed = len(self.ops)
