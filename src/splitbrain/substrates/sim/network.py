"""The simulated network: every message is one event at the time at which it arrives.

Without faults a link is like a TCP connection on a quiet LAN: each message takes the base delay
plus a jitter, and none overtakes an earlier one of its link.  Faults act on whole messages:

- **cut**: a message is lost if its link is cut when it is sent *or* when it would arrive, so what
  was in flight when the cut began is lost too.  Cuts have ids and stack: a link passes messages
  again once the last of its cuts is healed.
- **loss**, **corruption**: the message does not arrive; a corrupted one travels, and is dropped
  and counted by the receiver, where it falls to its checksum.
- **delay**, **jitter**: added; order is kept, as TCP would keep it.
- **reordering**: the message is held until one to three later ones of its link have been sent, and
  arrives after them (after 200 ms if none is sent).
- **duplication**: a second copy with the same number follows.
- **rate**: messages queue for a wire of that many bits a second; a queue of more than 5 s drops.

Between nodes, what arrives is told to the receiver as it is, copies included.  Between a client and
a node there is one connection for each call, as in gRPC: see :mod:`splitbrain.substrates.sim.caller`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from splitbrain.contracts.fault import Cut, Shape
from splitbrain.contracts.testbed import LinkCount
from splitbrain.env.random import Random
from splitbrain.errors import HarnessError
from splitbrain.substrates.sim.links import Link, mould
from splitbrain.substrates.sim.loop import SimLoop

__all__ = ["CLIENT", "Letter", "Network"]

CLIENT = "client"
"""The name that stands for all our clients in a link."""

Letter = tuple[Link, int, int, int, Any]
"""A message under way: (link, the target's epoch at sending, number, time of sending, payload)."""

Arrive = Callable[[Letter], None]

_HELD_MAX_NS = 200_000_000
_QUEUE_MAX_NS = 5_000_000_000
_OVERHEAD_BYTES = 60  # headers of a packet
_SECOND = 1_000_000_000


class Network:
    """All links of one testbed, and the faults upon them.

    Args:
        loop: gives the time and carries the messages.
        random: fates are drawn from its streams ``link``.
        delay_ns: base delay of each message.
        jitter_ns: plus a uniform draw below this.
        grid_ns: arrivals are rounded up to multiples of this, so that many are simultaneous and
            the loop's shuffle has something to shuffle; 0 for none.
    """

    def __init__(
        self, loop: SimLoop, random: Random, *, delay_ns: int, jitter_ns: int, grid_ns: int = 0
    ) -> None:
        self._loop = loop
        self._random = random.child("link")
        self._delay_ns = delay_ns
        self._jitter_ns = jitter_ns
        self._grid_ns = grid_ns
        self._links: dict[tuple[str, str], list[Link]] = {}
        self._cuts: dict[str, tuple[tuple[str, str], ...]] = {}
        self._shapes: dict[str, tuple[tuple[tuple[str, str], ...], Shape]] = {}

    def open(self, source: str, target_name: str, target: Any, *, client: str = "") -> Link:
        """A new directed link; ``client`` names the client at one of its ends, if there is one."""
        key = (source, target_name)
        names = (source, target_name, client) if client else key
        link = Link(key, source, target, self._random.child(*names))
        self._links.setdefault(key, []).append(link)
        self._refresh(link)
        return link

    # -- messages ----------------------------------------------------------------------------

    def transmit(self, link: Link, arrive: Arrive, payload: Any, epoch: int) -> None:
        """Send one message: ``arrive`` is called with its letter, unless it is lost on the way.

        ``arrive`` itself drops it where ``link.cuts`` holds at that time.
        """
        link.sent = number = link.sent + 1
        now = self._loop.now_ns
        letter = (link, epoch, number, now, payload)
        if link.disturbed:
            self._transmit_disturbed(link, arrive, letter)
            return
        when = now + self._delay_ns + int(link.jitters.at(number) * self._jitter_ns)
        if when <= link.floor_ns:
            when = link.floor_ns + 1
        link.floor_ns = when
        self._loop.post_ns(when, arrive, letter)

    def _transmit_disturbed(self, link: Link, arrive: Arrive, letter: Letter) -> None:
        shape, number, now = link.mould, letter[2], letter[3]
        if link.cuts:
            return
        when = now + self._delay_ns + int(link.jitters.at(number) * self._jitter_ns)
        if shape is not None:
            if shape.loss and link.draw("loss", number) < shape.loss:
                return
            if shape.bits_per_s:
                queued = self._queue(link, now, letter[4], shape.bits_per_s)
                if queued is None:
                    return
                when += queued
            when += shape.delay_ns + int(link.draw("shape", number) * shape.jitter_ns)
            if shape.corrupt and link.draw("corrupt", number) < shape.corrupt:
                arrive = _fall_to_checksum
            if shape.reorder and link.draw("reorder", number) < shape.reorder:
                self._hold(link, arrive, letter)
                return
        when = self._in_order(link, when)
        self._loop.post_ns(when, arrive, letter)
        twice = shape is not None and shape.duplicate
        if twice and link.draw("duplicate", number) < twice:
            gap = self._delay_ns + int(link.draw("copy", number) * self._jitter_ns)
            self._loop.post_ns(self._in_order(link, when + gap), arrive, letter)
        if link.held:
            self._pass_held(link)

    def _in_order(self, link: Link, when: int) -> int:
        """``when``, on the grid, and not before the last arrival of the link."""
        if self._grid_ns:
            # Equal times are in order too: the loop keeps the order of one link.
            when = max(-(-when // self._grid_ns) * self._grid_ns, link.floor_ns)
        elif when <= link.floor_ns:
            when = link.floor_ns + 1
        link.floor_ns = when
        return when

    def _queue(self, link: Link, now: int, payload: Any, bits_per_s: float) -> int | None:
        """How long it takes until the last bit is on the wire; None where the queue is full."""
        start = max(now, link.busy_ns)
        if start - now > _QUEUE_MAX_NS:
            return None
        size = len(msgspec.msgpack.encode(payload, enc_hook=repr)) + _OVERHEAD_BYTES
        link.busy_ns = start + round(size * 8 * _SECOND / bits_per_s)
        return link.busy_ns - now

    def _hold(self, link: Link, arrive: Arrive, letter: Letter) -> None:
        later = 1 + int(link.draw("behind", letter[2]) * 3)
        entry: list[Any] = [later, arrive, letter]
        link.held.append(entry)
        self._loop.post_ns(self._loop.now_ns + _HELD_MAX_NS, self._release, entry)

    def _pass_held(self, link: Link) -> None:
        """A message was sent: let go those that have waited for enough of them."""
        for entry in link.held:
            entry[0] -= 1
            if entry[0] <= 0:
                when = link.floor_ns + 1 + int(link.draw("copy", entry[2][2]) * self._delay_ns)
                if self._grid_ns:
                    when = (when // self._grid_ns + 1) * self._grid_ns
                self._loop.post_ns(when, entry[1], entry[2])
        link.held = [entry for entry in link.held if entry[0] > 0]

    def _release(self, entry: list[Any]) -> None:
        """Too few have passed it: it arrives after all."""
        later, arrive, letter = entry
        if later > 0:
            link = letter[0]
            link.held = [each for each in link.held if each is not entry]
            arrive(letter)

    # -- faults ------------------------------------------------------------------------------

    def cut(self, id_: str, links: Cut) -> None:
        """Cut these directed links under that id."""
        self._check(links)
        self._cuts[id_] = tuple((i, j) for i, j in links)
        self._refresh_all()

    def shape(self, id_: str, links: Cut, shape: Shape) -> None:
        """Shape these directed links under that id."""
        self._check(links)
        self._shapes[id_] = (tuple((i, j) for i, j in links), shape)
        self._refresh_all()

    def heal(self, id_: str | None) -> None:
        """End the cut and the shape of that id; all for None."""
        if id_ is None:
            self._cuts.clear()
            self._shapes.clear()
        else:
            self._cuts.pop(id_, None)
            self._shapes.pop(id_, None)
        self._refresh_all()

    def _check(self, links: Cut) -> None:
        nodes = {name for key in self._links for name in key} | {CLIENT}
        for pair in links:
            for end in pair:
                if end not in nodes:
                    known = ", ".join(sorted(nodes))
                    raise HarnessError(f"link {pair[0]}->{pair[1]}: no {end!r}; known: {known}")

    def _refresh_all(self) -> None:
        for links in self._links.values():
            for link in links:
                self._refresh(link)

    def _refresh(self, link: Link) -> None:
        """Work out what holds for the link now."""
        key = link.key
        link.cuts = sum(1 for links in self._cuts.values() if key in links)
        link.mould = mould(shape for links, shape in self._shapes.values() if key in links)
        link.disturbed = bool(link.cuts or link.mould is not None or self._grid_ns)

    def now_ns(self) -> int:
        """The loop's time."""
        return self._loop.now_ns

    # -- what was seen -----------------------------------------------------------------------

    def counts(self) -> Mapping[tuple[str, str], LinkCount]:
        """What both ends of each link have counted; our clients' links to a node are one."""
        return {
            key: _sum([link.count() for link in links]) for key, links in self._links.items()
        }


def _sum(counts: list[LinkCount]) -> LinkCount:
    names = LinkCount.__struct_fields__
    return LinkCount(**{name: sum(getattr(each, name) for each in counts) for name in names})


def _fall_to_checksum(letter: Letter) -> None:
    link = letter[0]
    if not link.cuts:
        link.damaged += 1
