"""What a simulated testbed keeps of its nodes' words: logs, events, crashes."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any, TextIO

from splitbrain.contracts.testbed import EventSink, NodeCrash

__all__ = ["Record", "crash_reason"]

_KEPT_LINES = 2000


class Record:
    """Logs by node (their ends in memory, all of them in ``directory``), events, crashes.

    Args:
        peers: names of the nodes.
        time_ns: nanoseconds since the test began.
        events: where events go.
        directory: logs go to ``directory/logs/NODE.log``; None keeps only their ends.
    """

    def __init__(
        self,
        peers: Sequence[str],
        time_ns: Callable[[], int],
        events: EventSink,
        directory: str | None,
    ) -> None:
        self.peers = tuple(peers)
        self.time_ns = time_ns
        self.crashes: list[NodeCrash] = []
        self._events = events
        self._ends: dict[str, deque[str]] = {name: deque(maxlen=_KEPT_LINES) for name in peers}
        self._files: dict[str, TextIO] = {}
        if directory is not None:
            logs = Path(directory) / "logs"
            logs.mkdir(parents=True, exist_ok=True)
            for name in peers:
                self._files[name] = (logs / f"{name}.log").open("w", encoding="utf-8")

    def log(self, node: str, line: str) -> None:
        """One line, with its virtual time in seconds before it."""
        text = f"{self.time_ns() / 1e9:12.6f} {line}"
        self._ends[node].append(text)
        file = self._files.get(node)
        if file is not None:
            file.write(text + "\n")

    def tail(self, node: str, lines: int) -> tuple[str, ...]:
        """The last lines of a node's log."""
        return tuple(self._ends[node])[-lines:] if lines > 0 else ()

    def event(self, node: str, kind: str, fields: dict[str, Any]) -> None:
        """Pass on what a node says of itself."""
        self._events({"time_ns": self.time_ns(), "node": node, "kind": kind, **fields})

    def close(self) -> None:
        """Write out and close the logs."""
        for file in self._files.values():
            file.close()
        self._files.clear()


def crash_reason(error: BaseException) -> str:
    """One line: the exception and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = ""
    if frames:
        last = frames[-1]
        where = f" ({PurePath(last.filename).name}:{last.lineno} in {last.name})"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{': ' + text if text else ''}{where}"
