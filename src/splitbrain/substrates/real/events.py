"""Following what nodes say of themselves, file by file, as lines are added.

A node appends JSON objects with ``base_monotonic_ns``, the machine's CLOCK_MONOTONIC, which all
processes of one machine share; here it becomes ``time_ns`` since the test began.  A line that was
torn by a kill is passed over; whatever follows it in the file is not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from splitbrain.contracts.testbed import EventSink

__all__ = ["Follower"]

_CHUNK = 1 << 18
_LINE_MAX = 1 << 20


class Follower:
    """Reads what is new in every node's events file and hands it on, in each file's order.

    Args:
        files: path by node.
        start_ns: CLOCK_MONOTONIC when the test began.
        sink: called with each event.
    """

    def __init__(self, files: Mapping[str, str], start_ns: int, sink: EventSink) -> None:
        self._files = files
        self._start_ns = start_ns
        self._sink = sink
        self._handles: dict[str, int] = {}
        self._rest: dict[str, bytes] = {}

    def poll(self) -> int:
        """Hand on whatever is new; the number of events."""
        return sum(self._poll(node, path) for node, path in self._files.items())

    def _poll(self, node: str, path: str) -> int:
        if node not in self._handles:
            try:
                self._handles[node] = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                return 0
        count = 0
        while data := os.read(self._handles[node], _CHUNK):
            *lines, rest = (self._rest.get(node, b"") + data).split(b"\n")
            self._rest[node] = rest if len(rest) < _LINE_MAX else b""
            count += sum(self._hand_on(node, line) for line in lines)
        return count

    def _hand_on(self, node: str, line: bytes) -> bool:
        try:
            event = msgspec.json.decode(line, type=dict)
            base_ns = int(event.pop("base_monotonic_ns"))
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
            return False
        self._sink({**event, "time_ns": base_ns - self._start_ns, "node": node})
        return True

    def close(self) -> None:
        """Read what is left and close the files."""
        self.poll()
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()
