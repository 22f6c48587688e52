"""What a container prints, copied into the run directory as it prints it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from pathlib import Path
from typing import Any

from splitbrain.errors import HostError
from splitbrain.substrates.docker.engine import Engine

__all__ = ["LogCopy"]

_CLOSE_S = 2.0


class LogCopy:
    """The copy of one container's output, over all its runs since a moment.

    Args:
        path: file of this machine to append to.
        since: seconds of the wall clock; what was printed before is left out.
    """

    def __init__(self, engine: Engine, container: str, path: str, since: float) -> None:
        self._engine = engine
        self._container = container
        self._path = Path(path)
        self._since = since
        self._stream: Any = None
        self._thread: threading.Thread | None = None

    def follow(self) -> None:
        """Copy what it prints until this run of it ends."""
        self._thread = threading.Thread(
            target=self._copy, args=(self._thread,), name="docker-logs", daemon=True
        )
        self._thread.start()

    def _copy(self, before: threading.Thread | None) -> None:
        if before is not None:
            before.join(_CLOSE_S)
        try:
            self._stream = self._engine.call_now(
                "logs",
                self._container,
                stdout=True,
                stderr=True,
                stream=True,
                follow=True,
                since=self._since,
            )
        except (HostError, FileNotFoundError) as error:  # such as a driver that keeps no logs
            self._append(f"(its output cannot be had: {error})\n".encode())
            return
        with contextlib.suppress(Exception):  # closing the stream is how the reading ends
            for chunk in self._stream:
                self._append(chunk)
        self._since = time.time_ns() / 1e9

    def _append(self, data: bytes) -> None:
        with contextlib.suppress(OSError), self._path.open("ab") as file:
            file.write(data)

    async def close(self) -> None:
        """Copy no more."""
        if self._thread is None:
            return
        with contextlib.suppress(Exception):
            self._stream.close()
        await asyncio.to_thread(self._thread.join, _CLOSE_S)
