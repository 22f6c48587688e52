"""A child process that leads its own session, is journaled, and is reaped the moment it ends.

While a child has not been reaped its pid belongs to it alone, so signals to it and to its group go
nowhere else.  It is reaped on the event loop, told by a pidfd, so no zombie stays and a node that
ends by itself is noticed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from splitbrain.contracts.journal import Journal
from splitbrain.errors import HostError
from splitbrain.substrates.tools import procfs

__all__ = ["Child", "describe_exit", "spawn"]

_HOOKS = ("SPLITBRAIN_FAIL_AT_JOURNAL", "SPLITBRAIN_FAIL_BEFORE_JOURNAL")


class Child:
    """One child process.

    Attributes:
        pid: its process id, its session and its process group.
        start: its start time, see ``procfs``.
        returncode: None while it runs; negative: ended by that signal.
    """

    def __init__(self, popen: subprocess.Popen[bytes], undone: Callable[[], None]) -> None:
        self.pid = popen.pid
        process = procfs.look(popen.pid)
        self.start = process.start if process is not None else 0
        self.popen = popen
        self.returncode: int | None = None
        self._undone = undone
        self._ended = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(popen.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    def on_end(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` on the event loop once the process has ended."""
        if self.returncode is not None:
            self._loop.call_soon(listener)
        else:
            self._listeners.append(listener)

    def look(self) -> procfs.Process | None:
        """The process as /proc shows it; None once it has ended."""
        process = procfs.look(self.pid) if self.returncode is None else None
        if process is None or not process.alive or process.start != self.start:
            return None
        return process

    def signal(self, number: signal.Signals) -> None:
        """Signal the process and its group, if it still runs."""
        if self.look() is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def ended(self, timeout_s: float) -> bool:
        """Wait for its end; False if it did not come in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    async def kill(self) -> None:
        """SIGKILL to the whole group, and wait until it is gone.

        Raises:
            HostError: the kernel does not let it end.
        """
        self.signal(signal.SIGKILL)
        if not await self.ended(10.0):
            raise HostError(
                f"pid {self.pid} did not end within 10 s of SIGKILL: a disk that hangs?"
            )

    def _reap(self) -> None:
        code = self.popen.poll()
        if code is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.returncode = code
        self._undone()
        self._ended.set()
        for listener in self._listeners:
            listener()


def spawn(
    argv: Sequence[str],
    *,
    target: str,
    label: str,
    journal: Journal,
    environment: Mapping[str, str],
    log: str,
    pipes: bool = False,
) -> Child:
    """Start ``argv`` in a session of its own, marked with ``label``; inside an event loop only.

    Args:
        argv: the command line.
        target: what it is to the run, such as the node's name: goes into the journal.
        label: the run's mark, put into the child's environment.
        journal: where the start is written first.
        environment: added to this process's own.
        log: file that standard error, and output without ``pipes``, are appended to.
        pipes: give standard input and output as pipes in ``popen``.

    Raises:
        HostError: it cannot be started.
    """
    child_environment = {k: v for k, v in os.environ.items() if k not in _HOOKS}
    child_environment |= {**environment, procfs.LABEL: label}
    number = journal.intent(
        "start-process", target=target, label=label, argv=list(argv), undo="end-process"
    )
    try:
        with open(log, "ab") as output:
            popen = _popen(argv, child_environment, output, pipes=pipes)
    except OSError as error:
        journal.undone(number)
        raise HostError(
            f"{target}: cannot start {argv[0]!r}: {error.strerror} ({error.filename}); "
            "is it installed, executable, and its log writable?"
        ) from error
    child = Child(popen, lambda: journal.undone(number))
    journal.done(number, pid=child.pid, start=child.start, group=child.pid)
    return child


def _popen(
    argv: Sequence[str], environment: Mapping[str, str], log: IO[Any], *, pipes: bool
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        list(argv),
        env=dict(environment),
        stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
        stdout=subprocess.PIPE if pipes else log,
        stderr=log if pipes else subprocess.STDOUT,
        start_new_session=True,
        bufsize=0,
    )


def describe_exit(returncode: int) -> str:
    """``exit code 3`` or ``signal SIGSEGV``.

    >>> describe_exit(3), describe_exit(-11)
    ('exit code 3', 'signal SIGSEGV')
    """
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"signal {-returncode}"
