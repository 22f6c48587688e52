"""When may which packet of one directed link pass, and how whole?  Pure: time comes in as a number.

- **loss**: the packet is gone, before it takes any room on the link.
- **rate**: packets pass one after another, each taking size / rate.  One that would wait longer than
  half a second for its turn is lost, as in a router's full queue.
- **delay** and **jitter**: then it takes the delay, plus a uniform draw from [0, jitter].  Packets keep
  their order: one that drew less waits for the one before.  (netem lets jitter alone reorder packets;
  TCP takes that for loss and slows to a crawl, which is another fault than the one asked for.)
- **reorder**: the packet is held back until the next packet of its flow has passed, at most 200 ms.
  Of its flow (addresses, protocol, ports), not of the link: a receiver sees the order of one flow only.
- **duplicate**: a copy passes right behind it.
- **corrupt**: one bit of its payload is flipped (of its checksum if it has none); the checksum is left
  as it is, so that the receiver's kernel drops it.

Every packet takes the same number of draws, whatever is asked for: the fate of the n-th packet of a
link depends on the seed, the link and n alone.

    >>> line = Line(Form(delay_ns=50_000_000), "seed 7 to 10.0.0.2")
    >>> line.take(1000, 1500).at_ns
    50001000
"""

from __future__ import annotations

import random
from typing import NamedTuple

__all__ = ["HELD_BACK_NS", "Fate", "Form", "Line", "damaged", "flow_of"]

HELD_BACK_NS = 200_000_000
"""How long a packet is held back behind none."""

_BACKLOG_NS = 500_000_000
_TCP, _UDP = 6, 17
_CHECKSUM_AT = {_TCP: 16, _UDP: 6}


class Form(NamedTuple):
    """What is done to the packets of one directed link; see ``contracts.fault.Shape``."""

    delay_ns: int = 0
    jitter_ns: int = 0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    bits_per_s: float = 0.0


class Fate(NamedTuple):
    """What becomes of one packet that is not lost.

    Attributes:
        at_ns: when it may pass.
        copy: a copy follows it.
        held_back: it passes only after the next of its flow, or ``HELD_BACK_NS`` after ``at_ns``.
        flip: which bit is flipped, as a fraction of all that there are; None for none.
    """

    at_ns: int
    copy: bool
    held_back: bool
    flip: float | None


class Line:
    """One directed link: its form, and when what has passed leaves room for the next."""

    def __init__(self, form: Form, seed: str) -> None:
        self.form = form
        self._draw = random.Random(seed).random
        self._free_ns = 0
        self._last_ns = 0

    def take(self, now_ns: int, size: int) -> Fate | None:
        """The fate of the next packet, of ``size`` bytes; None if it is lost."""
        form, draw = self.form, self._draw
        lost, late, copy, back, flip, where = draw(), draw(), draw(), draw(), draw(), draw()
        if lost < form.loss:
            return None
        at_ns = now_ns
        if form.bits_per_s > 0:
            start_ns = max(now_ns, self._free_ns)
            if start_ns - now_ns > _BACKLOG_NS:
                return None
            at_ns = self._free_ns = start_ns + int(size * 8e9 / form.bits_per_s)
        at_ns += form.delay_ns + int(late * form.jitter_ns)
        at_ns = self._last_ns = max(at_ns, self._last_ns)
        return Fate(
            at_ns=at_ns,
            copy=copy < form.duplicate,
            held_back=back < form.reorder,
            flip=where if flip < form.corrupt else None,
        )


def _parts(packet: bytes) -> tuple[int, int]:
    """Where an IPv4 packet's transport header begins, and the transport protocol."""
    return (packet[0] & 15) * 4, packet[9]


def flow_of(packet: bytes) -> bytes:
    """What tells one flow of IPv4 packets from another."""
    begin, protocol = _parts(packet)
    ports = packet[begin : begin + 4] if protocol in _CHECKSUM_AT else b""
    return packet[9:10] + packet[12:20] + ports


def damaged(packet: bytes, flip: float) -> bytes:
    """The IPv4 packet with one bit flipped, so that its transport checksum is wrong."""
    begin, protocol = _parts(packet)
    header = (packet[begin + 12] >> 4) * 4 if protocol == _TCP else 8
    low, high = begin + header, len(packet)
    if low >= high:
        low = min(begin + _CHECKSUM_AT.get(protocol, 2), high - 2)
        high = low + 2
    bit = int(flip * (high - low) * 8)
    changed = bytearray(packet)
    changed[low + bit // 8] ^= 1 << bit % 8
    return bytes(changed)
