r"""Shells that stay open on a host: to start a session costs 100 ms and more, a command here 1 ms.

A shell reads one command after the other from its channel.  Each is run in a subshell, and followed by
a mark on both outputs, the first with the exit code::

    > ( kill -STOP -- -4242 ) </dev/null; printf '%s %d\n' MARK "$?"; printf '%s\n' MARK >&2
    < MARK 0

A shell whose command does not end in time is given up, for nobody knows what it would answer next.
"""

from __future__ import annotations

import asyncio
import secrets
import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from splitbrain.contracts.testbed import ExecResult
from splitbrain.errors import HostError
from splitbrain.substrates.ssh.connection import Connection
from splitbrain.substrates.ssh.wire import Wire

__all__ = ["Shells", "command_result", "command_script"]

_PRELUDE = """
sb_look() {
    IFS= read -r line 2>/dev/null </proc/$1/stat || return 1
    set -- ${line##*) }
    printf '%s %s\\n' "$1" "${20}"
}
sb_signal() {
    set -- "$1" "$2" "$3" $(sb_look "$1")
    case "$4" in ''|Z|X) return 0;; esac
    [ "$5" = "$2" ] || return 0
    kill -s "$3" -- -"$1"
}
"""
"""``sb_look PID``: the kernel's letter and the start time.  ``sb_signal PID START SIGNAL``: signal the
group of the process that had this pid at that start time, if it lives."""


class Shells:
    """A few shells on one host, opened as they are needed.

    Args:
        most: at most so many; further commands wait.
    """

    def __init__(self, connection: Connection, most: int) -> None:
        self._connection = connection
        self._idle: list[Wire] = []
        self._free = asyncio.Semaphore(most)

    async def run(self, script: str, *, timeout_s: float = 10.0) -> ExecResult:
        """Run a script of ``sh``, with ``sb_look`` and ``sb_signal``.

        Raises:
            TimeoutError: it did not end in time.
            HostError: the connection is lost.
        """
        async with self._one() as shell:
            mark = f"splitbrain-{secrets.token_hex(8)}".encode()
            framed = (
                f"( {script}\n) </dev/null; printf '%s %d\\n' {mark.decode()} \"$?\"; "
                f"printf '%s\\n' {mark.decode()} >&2\n"
            )
            shell.write(framed.encode())
            async with asyncio.timeout(timeout_s):
                out = await self._until(shell.reader, mark)
                code = await self._until(shell.reader, b"\n")
                err = await self._until(shell.errors, mark + b"\n")
            return ExecResult(code=int(code), out=out, err=err)

    async def close(self) -> None:
        """Close those that are idle."""
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def _one(self) -> AsyncIterator[Wire]:
        async with self._free:
            shell = self._idle.pop() if self._idle else await self._open()
            try:
                yield shell
            except BaseException:
                await shell.close()
                raise
            self._idle.append(shell)

    async def _open(self) -> Wire:
        shell = await self._connection.session("exec sh")
        shell.write(_PRELUDE.encode())
        return shell

    async def _until(self, reader: asyncio.StreamReader, mark: bytes) -> bytes:
        try:
            seen = await reader.readuntil(mark)
        except asyncio.LimitOverrunError:
            raise HostError(
                f"host {self._connection.login.place}: a command printed more than 4 MB; "
                "let it write a file, and get that"
            ) from None
        except asyncio.IncompleteReadError:
            raise HostError(
                f"host {self._connection.login.place}: the connection is lost"
            ) from None
        return seen[: -len(mark)]


def command_script(
    argv: Sequence[str], directory: str, label: str, timeout_s: float, scratch: str
) -> str:
    """A script that runs a user's command and ends it in time.

    Its outputs go to files: something that it leaves running must not write into later answers.
    """
    words = shlex.join(argv)
    out, err = shlex.quote(f"{scratch}.out"), shlex.quote(f"{scratch}.err")
    return (
        f"cd {shlex.quote(directory)} || exit 125\n"
        f"SPLITBRAIN_RUN={shlex.quote(label)} timeout -s KILL {timeout_s:.3f} {words} "
        f">{out} 2>{err} </dev/null\n"
        f"code=$?; cat {out}; cat {err} >&2; rm -f {out} {err}; exit $code"
    )


def command_result(node: str, argv: Sequence[str], said: ExecResult, late: bool) -> ExecResult:
    """What the script of :func:`command_script` came to.

    Raises:
        TimeoutError: it was ended, being late.
        HostError: it could not be started.
    """
    if late and said.code in (124, 137):
        raise TimeoutError(f"node {node}: {argv[0]!r} took too long and was ended")
    if said.code in (126, 127) and said.err.startswith(b"timeout: "):
        raise HostError(f"node {node}: cannot run {argv[0]!r}: is it installed there?")
    code = 128 - said.code if 128 < said.code < 128 + 65 else said.code
    return ExecResult(code=code, out=said.out, err=said.err)
