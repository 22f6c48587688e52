"""What agents send each other, and how a receiver counts it.  Pure.

Each datagram to a peer is numbered, whatever it is for, and says when it was sent, so that the
receiver alone can tell what came twice, what was overtaken, and how late it was.  What was lost is
the sender's count minus the receiver's.

    >>> beat = Datagram(BEAT, "n1", epoch=7, number=1, sent_ns=1000, nonce=0)
    >>> decode(encode(beat, "s3cret"), "s3cret") == beat
    True
    >>> decode(encode(beat, "other"), "s3cret") is None
    True

The secret is no proof of anything: it keeps apart the datagrams of two runs on one machine.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

__all__ = ["ANSWER", "BEAT", "ECHO", "PROBE", "Datagram", "Tally", "decode", "encode"]

BEAT, PROBE, ECHO, ANSWER = 1, 2, 3, 4

_HEAD = struct.Struct("!4s8sBQQqQ")
_MAGIC = b"SBag"
_WINDOW = 4096
_EPOCHS = 64


class Datagram(NamedTuple):
    """One datagram.

    Attributes:
        kind: ``BEAT``, ``PROBE``, ``ECHO`` or its ``ANSWER``.
        sender: the node's name, or ``client``.
        epoch: of the sending process, so that a new one may begin at number 1.
        number: counts the datagrams from this sender to this receiver.
        sent_ns: the sender's monotonic clock.
        nonce: of a probe or an echo.
    """

    kind: int
    sender: str
    epoch: int
    number: int
    sent_ns: int
    nonce: int


def _mark(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()[:8]


def encode(datagram: Datagram, secret: str) -> bytes:
    """As bytes."""
    kind, sender, epoch, number, sent_ns, nonce = datagram
    head = _HEAD.pack(_MAGIC, _mark(secret), kind, epoch, number, sent_ns, nonce)
    return head + sender.encode()


def decode(data: bytes, secret: str) -> Datagram | None:
    """From bytes; None if it is none of this run's."""
    if len(data) < _HEAD.size:
        return None
    magic, mark, kind, epoch, number, sent_ns, nonce = _HEAD.unpack_from(data)
    if magic != _MAGIC or mark != _mark(secret):
        return None
    try:
        sender = data[_HEAD.size :].decode()
    except UnicodeDecodeError:
        return None
    return Datagram(kind, sender, epoch, number, sent_ns, nonce)


class Tally:
    """What one receiver has seen of one sender.

    Attributes:
        received: datagrams that arrived, those that came twice counted twice.
        duplicates: of them, those whose number had come before.
        reordered: of them, those that came after one with a higher number.
        lateness_ns: sum of arrival minus sending; 0 where the two do not share a clock.
    """

    def __init__(self, *, lateness: bool) -> None:
        self.received = self.duplicates = self.reordered = self.lateness_ns = 0
        self._lateness = lateness
        self._epoch = 0
        self._past: list[int] = []
        self._newest = 0
        self._seen: set[int] = set()

    def saw(self, datagram: Datagram, now_ns: int) -> None:
        """Count one; stragglers of a sending process that was replaced are not counted."""
        if datagram.epoch != self._epoch and not self._renew(datagram.epoch):
            return
        number = datagram.number
        self.received += 1
        if self._lateness:
            self.lateness_ns += now_ns - datagram.sent_ns
        if number in self._seen or number <= self._newest - _WINDOW:
            self.duplicates += 1
            return
        self._seen.add(number)
        if number < self._newest:
            self.reordered += 1
            return
        self._newest = number
        if len(self._seen) > 2 * _WINDOW:
            self._seen = {it for it in self._seen if it > number - _WINDOW}

    def _renew(self, epoch: int) -> bool:
        if epoch in self._past:
            return False
        self._past = [*self._past[1 - _EPOCHS :], self._epoch]
        self._epoch, self._newest, self._seen = epoch, 0, set()
        return True

    def counts(self) -> dict[str, int]:
        """As ``counts`` answers it."""
        return {
            "received": self.received,
            "duplicates": self.duplicates,
            "reordered": self.reordered,
            "lateness_ns": self.lateness_ns,
        }
