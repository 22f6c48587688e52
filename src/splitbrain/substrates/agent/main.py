"""The verbs, and the agent's life: from the first line on standard input to its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any, Callable

from . import VERSION
from .asking import Refused, address, integer, number, string, table
from .endpoint import Endpoint
from .loop import Loop
from .traffic import Traffic

__all__ = ["main"]

_LINE_BYTES_MAX = 1 << 20
_BACKLOG_BYTES_MAX = 4 << 20

Arguments = Mapping[str, Any]
Answer = Callable[[Mapping[str, Any]], None]
Verb = Callable[[Arguments, Answer], None]

_CLAIM = "\0splitbrain-agent"
_CLAIM_S = 5.0
_TAKEN = (
    "another splitbrain agent works in this network namespace; "
    "let its run end, or use another host"
)


class Agent:
    """All that an agent has, and its verbs."""

    def __init__(self, loop: Loop, claim: socket.socket) -> None:
        self.loop = loop
        self.endpoint = Endpoint(loop)
        self.traffic = Traffic(loop, claim)
        self.verbs: Mapping[str, Verb] = {
            "hello": self._hello,
            "peers": self._peers,
            "counts": self._counts,
            "probe": self._probe,
            "seen": self._seen,
            "echo": self._echo,
            "cut": self._cut,
            "shape": self._shape,
            "exit": self._exit,
        }

    def close(self) -> None:
        """Leave nothing behind."""
        self.traffic.close()
        self.endpoint.close()

    def _hello(self, arguments: Arguments, answer: Answer) -> None:
        answer(
            {
                "version": VERSION,
                "python": ".".join(str(part) for part in sys.version_info[:3]),
                **self.traffic.abilities(),
            }
        )

    def _peers(self, arguments: Arguments, answer: Answer) -> None:
        peers = table(arguments, "peers")
        lateness = arguments.get("lateness", True)
        if not isinstance(lateness, bool):
            raise Refused(f"lateness must be true or false, not {lateness!r}")
        self.endpoint.configure(
            string(arguments, "self"),
            integer(arguments, "port", low=1, high=65_535),
            string(arguments, "secret"),
            {name: address(ip, f"peers.{name}") for name, ip in peers.items()},
            every_ms=number(arguments, "every_ms", 50, low=1, high=60_000),
            lateness=lateness,
        )
        answer({})

    def _counts(self, arguments: Arguments, answer: Answer) -> None:
        answer(self.endpoint.counts())

    def _probe(self, arguments: Arguments, answer: Answer) -> None:
        place = None
        if "address" in arguments:
            port = integer(arguments, "port", low=1, high=65_535)
            place = (address(arguments["address"], "address"), port)
        self.endpoint.probe(
            string(arguments, "to"),
            integer(arguments, "nonce", low=0, high=2**64 - 1),
            number(arguments, "for_s", 0, high=60),
            place,
        )
        answer({})

    def _seen(self, arguments: Arguments, answer: Answer) -> None:
        nonce = integer(arguments, "nonce", low=0, high=2**64 - 1)
        self.endpoint.seen(nonce, number(arguments, "wait_s", 0, high=60), answer)

    def _echo(self, arguments: Arguments, answer: Answer) -> None:
        wait_s = number(arguments, "wait_s", 5, high=60)
        self.endpoint.echo(string(arguments, "to"), wait_s, answer)

    def _cut(self, arguments: Arguments, answer: Answer) -> None:
        self.traffic.cut(arguments)
        answer({})

    def _shape(self, arguments: Arguments, answer: Answer) -> None:
        self.traffic.shape(arguments)
        answer({})

    def _exit(self, arguments: Arguments, answer: Answer) -> None:
        answer({})
        self.loop.stop()


class Wire:
    """Requests from standard input, answers to standard output; never waits for either.

    Args:
        verbs: what can be asked; None refuses all.
    """

    def __init__(self, loop: Loop, verbs: Mapping[str, Verb] | None) -> None:
        self._loop = loop
        self._verbs = verbs
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._pending = b""
        self._backlog = b""
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._loop.watch(self._in, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._in, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # whoever started us is gone
            self._loop.stop()
            return
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            if line.strip():
                self._handle(line)
        if len(self._pending) > _LINE_BYTES_MAX:
            self._pending = b""
            self._write({"n": None, "error": f"a line of more than {_LINE_BYTES_MAX} bytes"})

    def _handle(self, line: bytes) -> None:
        request: Any = None
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise Refused("a request must be a JSON object")
            n = request.get("n")
            if self._verbs is None:
                raise Refused(_TAKEN)
            call = self._verbs.get(string(request, "verb"))
            if call is None:
                known = ", ".join(self._verbs)
                raise Refused(f"unknown verb {request['verb']!r}; known: {known}")
            call(request, lambda ok: self._write({"n": n, "ok": ok}))
        except Refused as refused:
            self._refuse(request, str(refused))
        except ValueError as error:
            self._refuse(request, f"a request must be a JSON object: {error}")
        except Exception as error:  # noqa: BLE001 - nothing that is asked may end the agent
            self._refuse(request, f"{type(error).__name__}: {error}")

    def _refuse(self, request: Any, sentence: str) -> None:
        known = request if isinstance(request, dict) else {}
        verb = known.get("verb")
        self._write({"n": known.get("n"), "error": f"{verb}: {sentence}" if verb else sentence})

    def _write(self, message: Mapping[str, Any]) -> None:
        waiting = bool(self._backlog)
        self._backlog += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        if not waiting:
            self._flush()
            if self._backlog:
                self._loop.watch_writable(self._out, self._flush_later)
        if len(self._backlog) > _BACKLOG_BYTES_MAX:  # nobody reads us any more
            self._loop.stop()

    def _flush(self) -> None:
        try:
            self._backlog = self._backlog[os.write(self._out, self._backlog) :]
        except BlockingIOError:
            return
        except OSError:
            self._backlog = b""
            self._loop.stop()

    def _flush_later(self) -> None:
        self._flush()
        if not self._backlog:
            self._loop.forget(self._out)


def _stop_on_signals(loop: Loop) -> tuple[socket.socket, socket.socket]:
    """Let signals end the loop; the sockets must be kept for as long as it runs."""
    ours, kernels = socket.socketpair()
    kernels.setblocking(False)
    signal.set_wakeup_fd(kernels.fileno(), warn_on_full_buffer=False)
    for number_ in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number_, lambda *_: None)
    loop.watch(ours, loop.stop)
    return ours, kernels


def _claim() -> socket.socket | None:
    """Make this network namespace ours; None if it is another agent's, and stays so.

    Abstract names belong to a network namespace.  The guard holds the socket too, so that an agent
    that takes a dead one's place waits until the dead one's rules are gone.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    deadline = time.monotonic() + _CLAIM_S
    while not _bound(claim):
        if time.monotonic() > deadline:
            claim.close()
            return None
        time.sleep(0.02)
    return claim


def _bound(claim: socket.socket) -> bool:
    try:
        claim.bind(_CLAIM)
    except OSError:
        return False
    return True


def main() -> None:
    """Serve until standard input closes, a signal or ``exit``; then remove every rule and queue."""
    loop = Loop()
    sockets = _stop_on_signals(loop)
    claim = _claim()
    agent = Agent(loop, claim) if claim is not None else None
    try:
        Wire(loop, agent.verbs if agent is not None else None)
        loop.run()
    finally:
        if agent is not None:
            agent.close()
    for one in (*sockets, claim):
        if one is not None:
            one.close()
