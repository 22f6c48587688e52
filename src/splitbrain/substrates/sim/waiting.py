"""Parts of the loop of virtual time: its tasks, what it refuses, and how it names who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from pathlib import PurePath
from typing import Any, NoReturn, TypeVar

from splitbrain.errors import HarnessError

__all__ = ["Deadlock", "NoOutsideWorld", "SimTask", "where_all_wait"]

T_co = TypeVar("T_co", covariant=True)

_TOLD_MAX = 12


class Deadlock(HarnessError):
    """Nothing can ever happen again, or the horizon is passed: names the tasks that wait."""


class SimTask(asyncio.Task[T_co]):
    """A task whose hash is its number: sets of tasks have the same order in each run.

    asyncio keeps tasks in sets (TaskGroup cancels in their order, as_completed starts in it); by
    address that order would differ from process to process.
    """

    __slots__ = ("number",)

    def __init__(self, number: int, coro: Coroutine[Any, Any, T_co], **how: Any) -> None:
        self.number = number  # before the base class puts the task into its set of all tasks
        super().__init__(coro, **how)

    def __hash__(self) -> int:
        return self.number


def where_all_wait(tasks: Iterable[asyncio.Task[Any]]) -> str:
    """One line: which tasks wait, and where each does."""
    waiting = [f"{task.get_name()} in {_place(task)}" for task in tasks if not task.done()]
    if not waiting:
        return "no task is left"
    more = "" if len(waiting) <= _TOLD_MAX else f", and {len(waiting) - _TOLD_MAX} more"
    return "waiting: " + ", ".join(waiting[:_TOLD_MAX]) + more


def _place(task: asyncio.Task[Any]) -> str:
    """``function (file:line)`` of the innermost coroutine that the task is suspended in."""
    coro: Any = task.get_coro()
    place = "its first step"
    for _ in range(100):
        frame = getattr(coro, "cr_frame", None) or getattr(coro, "gi_frame", None)
        if frame is None:
            break
        code = frame.f_code
        place = f"{code.co_name} ({PurePath(code.co_filename).name}:{frame.f_lineno})"
        coro = getattr(coro, "cr_await", None) or getattr(coro, "gi_yieldfrom", None)
    return place


def _refuse(what: str, instead: str) -> NoReturn:
    raise HarnessError(f"simulation: {what} does not exist in virtual time; {instead}")


class NoOutsideWorld(asyncio.AbstractEventLoop):
    """The methods of a loop that touch the world outside: each refuses and says what to do."""

    def get_debug(self) -> bool:
        """Debug mode reads real clocks; there is none."""
        return False

    def set_debug(self, enabled: bool) -> None:
        """Passed over."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""

    def run_in_executor(self, *_: Any, **__: Any) -> NoReturn:  # type: ignore[override]
        """Refused."""
        _refuse("a thread or executor", "use an async client, or --on local")

    def add_signal_handler(self, *_: Any, **__: Any) -> NoReturn:  # type: ignore[override]
        """Refused."""
        _refuse("add_signal_handler", "use signal.signal and loop.call_soon_threadsafe")

    def remove_signal_handler(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        _refuse("remove_signal_handler", "use signal.signal")

    async def subprocess_exec(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        _refuse("a subprocess", "use --on local")

    async def subprocess_shell(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        _refuse("a subprocess", "use --on local")

    async def create_connection(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        _refuse("a socket", "call nodes through testbed.caller(), or use --on local")

    async def create_server(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        _refuse("a socket", "use --on local")

    async def create_unix_connection(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        _refuse("a socket", "call nodes through testbed.caller(), or use --on local")

    async def create_unix_server(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        _refuse("a socket", "use --on local")

    async def create_datagram_endpoint(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        _refuse("a socket", "use --on local")

    async def getaddrinfo(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        _refuse("name resolution", "use --on local")

    def add_reader(self, *_: Any, **__: Any) -> NoReturn:  # type: ignore[override]
        """Refused."""
        _refuse("a file descriptor to watch", "use --on local")

    def add_writer(self, *_: Any, **__: Any) -> NoReturn:  # type: ignore[override]
        """Refused."""
        _refuse("a file descriptor to watch", "use --on local")
