"""What a client does after it has answered: secondaries, locks of others, heartbeats."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from splitbrain.cluster.client.backoff import OutOfPatience
from splitbrain.errors import Definite, Undetermined

__all__ = ["Background"]

_NOBODYS = (Definite, Undetermined, OutOfPatience)


class Background:
    """Tasks whose failure is nobody's: whoever meets what they left will do it again."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], None] = {}

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
        """Let ``work`` run to its end."""
        # The coroutine itself is the task: wrapped, it would never be awaited if cancelled early.
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, _NOBODYS):
            raise error

    async def idle(self) -> None:
        """Wait until nothing is left to do."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Drop all that is left."""
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
