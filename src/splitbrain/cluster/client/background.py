"""What a client does after it has answered: secondaries, locks of others, heartbeats."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from splitbrain.cluster.client.backoff import OutOfPatience
from splitbrain.errors import Definite, Undetermined

__all__ = ["Background"]


class Background:
    """Tasks whose failure is nobody's: whoever meets what they left will do it again."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], None] = {}

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
        """Let ``work`` run to its end."""
        task = asyncio.create_task(self._run(work))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    async def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except (Definite, Undetermined, OutOfPatience):
            return

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
