"""The agent's UDP socket: beats to every peer, probes, echoes.

Its datagrams go the way of all packets between the nodes: rules and queues treat them like any other,
which makes them the proof of what those do.  A probe's ``seen`` is answered from what this socket
received, never from the rules.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from typing import Any, Callable

from .asking import Refused
from .datagrams import ANSWER, BEAT, ECHO, PROBE, Datagram, Tally, decode, encode
from .loop import Loop, Timer

__all__ = ["CLIENT", "Endpoint"]

CLIENT = "client"
"""Who asks: no peer, not counted; its datagrams are answered to where they came from."""

_NONCES = 65_536
_REPEAT_NS = 40_000_000
_ECHO_AGAIN_NS = 250_000_000
_BATCH = 256

Answer = Callable[[Mapping[str, Any]], None]
Place = tuple[str, int]


class Endpoint:
    """One socket, and what came in."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._socket: socket.socket | None = None
        self._port = 0
        self._self = self._secret = ""
        self._epoch = loop.now_ns()
        self._peers: dict[str, tuple[str, int]] = {}
        self._every_ns = 0
        self._lateness = True
        self._beats: Timer | None = None
        self._sent: dict[str, int] = {}
        self._tallies: dict[str, Tally] = {}
        self._nonces: dict[int, None] = {}
        self._waiting: dict[int, list[Callable[[], None]]] = {}
        self._echoes: dict[int, Callable[[int], None]] = {}
        self._echo_number = 0

    def configure(
        self,
        name: str,
        port: int,
        secret: str,
        peers: Mapping[str, str],
        *,
        every_ms: float,
        lateness: bool,
    ) -> None:
        """Take part under this name; counts of peers that stay go on."""
        if self._socket is None or port != self._port:
            self._open(port)
        self._self, self._secret, self._lateness = name, secret, lateness
        self._peers = {peer: (ip, port) for peer, ip in peers.items()}
        self._every_ns = int(every_ms * 1e6)
        if self._beats is not None:
            self._beats.cancel()
        self._beat(self._loop.now_ns())

    def close(self) -> None:
        """Send and receive no more."""
        if self._beats is not None:
            self._beats.cancel()
        if self._socket is not None:
            self._loop.forget(self._socket)
            self._socket.close()
            self._socket = None

    def _open(self, port: int) -> None:
        self.close()
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
            opened.bind(("", port))
        except OSError as error:
            opened.close()
            raise Refused(f"cannot open UDP port {port}: {error.strerror}") from None
        self._socket, self._port = opened, port
        self._loop.watch(opened, self._receive)

    # --- sending --------------------------------------------------------------------------------

    def _beat(self, due_ns: int) -> None:
        for peer in self._peers:
            self._send(BEAT, peer, 0)
        # After a stall the missed beats are not made up for: a burst would be a load of its own.
        due_ns = max(due_ns + self._every_ns, self._loop.now_ns())
        self._beats = self._loop.call_at(due_ns, lambda: self._beat(due_ns))

    def _send(self, kind: int, peer: str, nonce: int, place: Place | None = None) -> None:
        number = 0
        if peer in self._peers:
            place = self._peers[peer]
            number = self._sent[peer] = self._sent.get(peer, 0) + 1
        now_ns = self._loop.now_ns()
        data = encode(
            Datagram(kind, self._self, self._epoch, number, now_ns, nonce), self._secret
        )
        assert self._socket is not None
        assert place is not None
        with contextlib.suppress(OSError):  # a rule, no route: it was sent and does not arrive
            self._socket.sendto(data, place)

    def _known(self, peer: str, place: Place | None) -> None:
        if self._socket is None:
            raise Refused("no peers yet: ask for peers first")
        if place is None and peer not in self._peers:
            raise Refused(f"unknown peer {peer!r}; known: {', '.join(sorted(self._peers))}")

    def probe(self, peer: str, nonce: int, for_s: float, place: Place | None) -> None:
        """Send the nonce now, and again now and then for ``for_s`` seconds."""
        self._known(peer, place)
        until_ns = self._loop.now_ns() + int(for_s * 1e9)

        def again() -> None:
            self._send(PROBE, peer, nonce, place)
            due_ns = self._loop.now_ns() + _REPEAT_NS
            if due_ns < until_ns:
                self._loop.call_at(due_ns, again)

        again()

    def echo(self, peer: str, wait_s: float, answer: Answer) -> None:
        """Answer {"round_trip_ms": of the first echo that came back, or null}."""
        self._known(peer, None)
        until_ns = self._loop.now_ns() + int(wait_s * 1e9)
        nonces: list[int] = []
        timers: list[Timer] = []

        def end(trip_ms: float | None) -> None:
            for nonce in nonces:
                self._echoes.pop(nonce, None)
            for timer in timers:
                timer.cancel()
            answer({"round_trip_ms": trip_ms})

        def again() -> None:
            began_ns = self._loop.now_ns()
            self._echo_number += 1
            nonces.append(self._echo_number)
            self._echoes[self._echo_number] = lambda now_ns: end((now_ns - began_ns) / 1e6)
            if began_ns + _ECHO_AGAIN_NS < until_ns:
                timers.append(self._loop.call_at(began_ns + _ECHO_AGAIN_NS, again))
            self._send(ECHO, peer, self._echo_number)

        timers.append(self._loop.call_at(until_ns, lambda: end(None)))
        again()

    # --- receiving ------------------------------------------------------------------------------

    def _receive(self) -> None:
        for _ in range(_BATCH):
            if self._socket is None:
                return
            try:
                data, place = self._socket.recvfrom(2048)
            except OSError:  # nothing more; or an ICMP error of an earlier datagram
                return
            datagram = decode(data, self._secret)
            if datagram is not None:
                self._take(datagram, place)

    def _take(self, datagram: Datagram, place: Place) -> None:
        now_ns = self._loop.now_ns()
        sender = datagram.sender
        if sender in self._peers:
            tally = self._tallies.get(sender)
            if tally is None:
                tally = self._tallies[sender] = Tally(lateness=self._lateness)
            tally.saw(datagram, now_ns)
        elif sender != CLIENT:
            return
        if datagram.kind == PROBE:
            self._saw(datagram.nonce)
        elif datagram.kind == ECHO:
            self._send(ANSWER, sender, datagram.nonce, place)
        elif datagram.kind == ANSWER and datagram.nonce in self._echoes:
            self._echoes[datagram.nonce](now_ns)

    def _saw(self, nonce: int) -> None:
        self._nonces[nonce] = None
        if len(self._nonces) > _NONCES:
            del self._nonces[next(iter(self._nonces))]
        for call in self._waiting.pop(nonce, []):
            call()

    def seen(self, nonce: int, wait_s: float, answer: Answer) -> None:
        """Answer {"seen": whether that probe arrives here within ``wait_s`` seconds}."""
        if nonce in self._nonces or wait_s <= 0:
            answer({"seen": nonce in self._nonces})
            return

        def late() -> None:
            self._waiting[nonce].remove(arrived)
            if not self._waiting[nonce]:
                del self._waiting[nonce]
            answer({"seen": False})

        timer = self._loop.call_at(self._loop.now_ns() + int(wait_s * 1e9), late)

        def arrived() -> None:
            timer.cancel()
            answer({"seen": True})

        self._waiting.setdefault(nonce, []).append(arrived)

    def counts(self) -> Mapping[str, Any]:
        """What was sent to and received from each peer."""
        return {
            "sent": dict(self._sent),
            "received": {peer: tally.counts() for peer, tally in self._tallies.items()},
        }
