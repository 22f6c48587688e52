"""Holds the packets of the queue until they may pass.

A packet waits in one of two ways:

- In the kernel, without a verdict, until it goes through the rules again with our mark.
- TCP that is leaving: it is dropped at once and kept here, and sent through a raw socket when its time
  has come.  For the kernel limits how much of one connection it has handed out and not seen sent; a
  delay of 50 ms would make that a few packets each 50 ms, and a slow link of one that should be a late
  one.  (netem lets go of the sender's account for the same reason.)

Copies for duplication go through the raw socket too, those of arriving packets back through loopback.
A copy of a datagram that is larger than the link's packets cannot be sent whole, and is left out.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import NamedTuple

from .loop import Loop, Timer
from .nfqueue import INPUT, OUTPUT, Packet, Queue
from .rules import MARK, QUEUE
from .shaping import HELD_BACK_NS, Form, Line, damaged, flow_of

__all__ = ["Shaper", "Way", "way_from", "way_to"]

Way = tuple[int, str]
"""A hook (``nfqueue.INPUT`` or ``OUTPUT``) and the far address."""

_WAITING_MAX = 4096
_DRAIN_MAX = 1000
_SO_SNDBUFFORCE = 32
_TCP = 6


class _Item(NamedTuple):
    """A packet that waits.

    Attributes:
        number: counts the packets of its way.
        raw: it waits here, and not in the kernel.
        data: its bytes if they must be sent or have been changed.
    """

    number: int
    packet: Packet
    raw: bool
    data: bytes | None
    copy: bool
    flow: bytes


class _Track:
    """One way: its line, and what waits on it."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.count = 0
        self.waiting: dict[int, tuple[_Item, Timer]] = {}
        self.back: dict[bytes, list[int]] = {}
        """Numbers of packets held back, by flow."""
        self.held_back = 0


class Shaper:
    """The queue and the lines of this namespace; the queue is bound while there are lines."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._tracks: dict[Way, _Track] = {}
        self._queue: Queue | None = None
        self._raw: socket.socket | None = None

    def open(self) -> None:
        """Bind the queue, if it is not: before the rules that lead to it.

        Raises:
            Refused: it cannot be.
        """
        if self._queue is not None:
            return
        self._queue = Queue(QUEUE)
        self._raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._raw.setblocking(False)
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        self._raw.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 8 << 20)
        self._loop.watch(self._queue, self._readable)

    def put(self, forms: Mapping[Way, Form], seed: int) -> None:
        """From now on these ways have these forms, and no others; ``open`` before.

        A way whose form stays goes on with its draws.  What waits on one that has none any more
        passes at once.
        """
        tracks: dict[Way, _Track] = {}
        for way, form in forms.items():
            track = self._tracks.pop(way, None)
            if track is None:
                track = _Track(Line(form, f"{seed} {way[0]} {way[1]}"))
            track.line.form = form
            tracks[way] = track
        for track in self._tracks.values():
            for number in sorted(track.waiting):
                self._pass(track, number)
        self._tracks = tracks

    def close(self) -> None:
        """Let pass what waits, and unbind the queue: after the rules that lead to it are gone."""
        if self._queue is None or self._raw is None:
            return
        for _ in range(_DRAIN_MAX):
            if not self._read():
                break
        self.put({}, 0)
        self._loop.forget(self._queue)
        self._queue.close()
        self._raw.close()
        self._queue = self._raw = None

    def _readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Take some of what is there; False if there was nothing."""
        assert self._queue is not None
        any_ = False
        for packet in self._queue.packets():
            end = packet.data[16:20] if packet.hook == OUTPUT else packet.data[12:16]
            any_ = True
            track = self._tracks.get((packet.hook, socket.inet_ntoa(end)))
            if track is None:
                self._queue.let_pass(packet, MARK)
            else:
                self._take(track, packet)
        return any_

    def _take(self, track: _Track, packet: Packet) -> None:
        assert self._queue is not None
        now_ns = self._loop.now_ns()
        track.count += 1
        number = track.count
        fate = track.line.take(now_ns, len(packet.data))
        if fate is None or len(track.waiting) >= _WAITING_MAX:
            self._queue.drop(packet)
            return
        data = damaged(packet.data, fate.flip) if fate.flip is not None else None
        at_ns = fate.at_ns + (HELD_BACK_NS if fate.held_back else 0)
        # One whose time has come still goes behind those that wait for theirs to be noticed.
        wait = at_ns > now_ns or len(track.waiting) > track.held_back
        raw = wait and packet.hook == OUTPUT and packet.data[9] == _TCP
        flow = flow_of(packet.data)
        item = _Item(number, packet, raw, data, fate.copy, flow)
        if not wait:
            self._send(track, item)
            return
        if raw:
            self._queue.drop(packet)
        timer = self._loop.call_at(at_ns, lambda: self._pass(track, number))
        track.waiting[number] = (item, timer)
        if fate.held_back:
            track.back.setdefault(flow, []).append(number)
            track.held_back += 1

    def _pass(self, track: _Track, number: int) -> None:
        """Let pass one that waits."""
        item, timer = track.waiting.pop(number)
        timer.cancel()
        back = track.back.get(item.flow)
        if back is not None and number in back:
            back.remove(number)
            track.held_back -= 1
            if not back:
                del track.back[item.flow]
        self._send(track, item)

    def _send(self, track: _Track, item: _Item) -> None:
        assert self._queue is not None
        data = item.packet.data if item.data is None else item.data
        if item.raw:
            self._send_raw(data)
        else:
            self._queue.let_pass(item.packet, MARK, item.data)
        if item.copy:
            self._send_raw(data)
        for number in list(track.back.get(item.flow, ())):
            if number < item.number:
                self._pass(track, number)

    def _send_raw(self, data: bytes) -> None:
        assert self._raw is not None
        try:
            self._raw.sendto(data, (socket.inet_ntoa(data[16:20]), 0))
        except OSError:  # cut, or larger than the link's packets: lost
            return


def way_from(ip: str) -> Way:
    """What arrives from that address."""
    return INPUT, ip


def way_to(ip: str) -> Way:
    """What leaves for that address."""
    return OUTPUT, ip
