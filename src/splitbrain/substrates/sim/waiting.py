"""Parts of the loop of virtual time: its tasks, what it refuses, and how it names who waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
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


class NoOutsideWorld(asyncio.AbstractEventLoop):
    """The methods of a loop that touch the world outside: each raises and says what to do."""

    def get_debug(self) -> bool:
        """Debug mode reads real clocks; there is none."""
        return False

    def set_debug(self, enabled: bool) -> None:
        """Passed over."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log an exception that left a callback, through asyncio's logger, as other loops do."""
        error = context.get("exception")
        told = (type(error), error, error.__traceback__) if error else None
        logging.getLogger("asyncio").error("%s", context.get("message"), exc_info=told)


_INSTEAD: dict[str, tuple[str, str]] = {
    "run_in_executor set_default_executor": (
        "a thread or executor",
        "use an async client, or --on local",
    ),
    "add_signal_handler remove_signal_handler": (
        "a signal handler of the loop",
        "use signal.signal and loop.call_soon_threadsafe",
    ),
    "subprocess_exec subprocess_shell connect_read_pipe connect_write_pipe": (
        "a subprocess",
        "use --on local",
    ),
    "add_reader remove_reader add_writer remove_writer": (
        "a file descriptor to watch",
        "use --on local",
    ),
    "create_connection create_server create_unix_connection create_unix_server "
    "create_datagram_endpoint connect_accepted_socket start_tls sendfile getaddrinfo getnameinfo "
    "sock_accept sock_connect sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into "
    "sock_sendall sock_sendto sock_sendfile": (
        "a socket",
        "call nodes through testbed.caller(), or use --on local",
    ),
}


def _refusal(method: str, what: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise HarnessError(
            f"simulation: {what} ({method}) does not exist in virtual time; {instead}"
        )

    return refuse


for _methods, (_what, _remedy) in _INSTEAD.items():
    for _method in _methods.split():
        setattr(NoOutsideWorld, _method, _refusal(_method, _what, _remedy))
