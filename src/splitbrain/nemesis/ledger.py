"""What the nemesis itself has in force, and had: the book that keeps proofs honest.

A proof is *masked* where another fault explains what is seen: no message comes from a killed node,
with or without a cut.  The book says which fault that is.  It also says who else holds a node dead
or paused, so that the stop of one fault does not end another.

Nemesis operations happen one at a time, so an entry's span is told by counting them.

    >>> ledger = Ledger()
    >>> ledger.began("kill-1", "kill", nodes=["n1"])
    >>> since = ledger.moment
    >>> ledger.ended("kill-1")
    >>> ledger.disturbance(("n1", "n2"), HOLDS) is None, ledger.disturbance(("n1",), HOLDS, since=since)
    (True, 'kill')
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable

import msgspec

__all__ = ["CLOCKS", "HOLDS", "LINKS", "Entry", "Ledger"]

HOLDS = frozenset({"kill", "power", "pause", "oom"})
"""Faults that hold whole nodes dead or paused."""

LINKS = frozenset({"partition", "delay", "loss", "duplication", "reordering"})
"""Faults of links."""

CLOCKS = frozenset({"clock-jump", "clock-strobe", "clock-drift"})
"""Faults of clocks."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One fault: whom it touches, and from which event of the book to which.

    Attributes:
        nodes: touched nodes.
        links: touched links; where there are any, they alone count.
        ended: None while it is in force.
    """

    id: str
    fault: str
    nodes: frozenset[str] = frozenset()
    links: frozenset[tuple[str, str]] = frozenset()
    began: int
    ended: int | None = None

    def touches(self, ends: Collection[str]) -> bool:
        """True if it concerns this node, or this link (from, to), or an end of it."""
        if self.links:
            return tuple(ends) in self.links
        return any(end in self.nodes for end in ends)


class Ledger:
    """All faults of one run, written by their families.

    Attributes:
        moment: how many faults have begun or ended so far.
    """

    def __init__(self) -> None:
        self.moment = 0
        self._entries: dict[str, Entry] = {}
        self._dues: dict[str, list[Callable[[], Awaitable[None]]]] = {}

    def began(
        self,
        id: str,  # noqa: A002
        fault: str,
        *,
        nodes: Iterable[str] = (),
        links: Iterable[tuple[str, str]] = (),
    ) -> None:
        """A fault is about to be applied."""
        self.moment += 1
        self._entries[id] = Entry(
            id=id,
            fault=fault,
            nodes=frozenset(nodes),
            links=frozenset(links),
            began=self.moment,
        )

    def ended(self, id: str) -> None:  # noqa: A002
        """A fault has been healed; nothing if it is not in force."""
        entry = self._entries.get(id)
        if entry is not None and entry.ended is None:
            self.moment += 1
            self._entries[id] = msgspec.structs.replace(entry, ended=self.moment)

    def healed(self, faults: Collection[str]) -> None:
        """All faults of these kinds are over."""
        for entry in tuple(self._entries.values()):
            if entry.fault in faults:
                self.ended(entry.id)

    def disturbance(
        self,
        ends: Collection[str],
        faults: Collection[str],
        *,
        since: int | None = None,
        but: str = "",
    ) -> str | None:
        """A fault of these kinds, other than ``but``, that touches a node or link.

        It is in force now, or was at some time after the moment ``since``.  The newest one is told.
        """
        for entry in reversed(self._entries.values()):
            over = entry.ended is not None and (since is None or entry.ended <= since)
            if entry.fault in faults and entry.id != but and not over and entry.touches(ends):
                return entry.fault
        return None

    def owe(self, node: str, due: Callable[[], Awaitable[None]]) -> None:
        """A heal that a paused node could not take: it is done once the node goes on."""
        self._dues.setdefault(node, []).append(due)

    async def settle(self, node: str) -> None:
        """Do what is owed to a node that goes on."""
        for due in self._dues.pop(node, []):
            await due()
