"""Links between nodes: cut, shaped and healed by proxies, probed by the nodes themselves.

Probes never ask a proxy or this module's own books.  A node link is probed by a message that the
sender sends over its ordinary data link, and that the receiver says to have seen: both are asked
through their control sockets, which no fault touches.

A *client link* is probed by a new HTTP/2 connection through the node's client proxy, as
``probing`` describes.

Programs that open no control socket are not asked: ``knocking`` has the kernel say whether a few
bytes came through the link's proxy, and how long they took.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.contracts.fault import Cut, Shape
from splitbrain.contracts.journal import Journal
from splitbrain.contracts.testbed import LinkCount
from splitbrain.env.random import Random
from splitbrain.errors import UnknownName, Unsupported
from splitbrain.substrates.local.faults import CLIENT, Cutting, Link, Shaping, fold
from splitbrain.substrates.local.knocking import Knocks
from splitbrain.substrates.local.node import LocalNode
from splitbrain.substrates.local.probing import probe_client, probe_link
from splitbrain.substrates.proxy.client import Proxies
from splitbrain.substrates.proxy.messages import Counts, LinkState

__all__ = ["CUT_MODES", "LOSS_NEEDS", "LocalNet", "link_name"]

CUT_MODES = ("mixed", "hold", "reset")
"""How a cut is done (option ``cut-mode``): bytes held, connections reset, or drawn for each cut."""

_GRACE_S = 0.2
"""What a control call may take beside the wait that it is asked for."""

LOSS_NEEDS = (
    "on a TCP proxy a lost packet would be a stall; "
    "use --on sim, or --on docker or ssh, where packets can be lost"
)


def link_name(link: Link) -> str:
    """``n1->n2``."""
    return f"{link[0]}->{link[1]}"


class LocalNet:
    """See ``contracts.testbed.Net``.

    Args:
        nodes: by name.
        proxies: the proxy process; None if links have no proxies (option ``proxies`` false).
        ports: the proxies' ports by link; client proxies are ``("client", node)``.
        random: draws how each cut is done.
        mode: one of ``CUT_MODES``.
    """

    def __init__(
        self,
        nodes: Mapping[str, LocalNode],
        proxies: Proxies | None,
        ports: Mapping[Link, int],
        *,
        random: Random,
        label: str,
        journal: Journal,
        mode: str = "mixed",
    ) -> None:
        assert mode in CUT_MODES
        self._nodes = nodes
        self._proxies = proxies
        self._ports = dict(ports)
        self._random = random
        self._label = label
        self._journal = journal
        self._mode = mode
        self._faults: dict[str, Cutting | Shaping] = {}
        self._acts: dict[str, int] = {}
        self._states: Mapping[Link, LinkState] = dict.fromkeys(self._ports, LinkState())
        self._turn = asyncio.Lock()
        self._probes = 0
        self._knocks = Knocks()
        self._readings: dict[tuple[str, int], Mapping[str, Any]] = {}

    @property
    def counts_at_once(self) -> bool:
        """Each node is asked through its control socket, and a paused one is waited for."""
        return False

    async def cut(self, id: str, links: Cut, *, mode: str | None = None) -> None:  # noqa: A002
        """Let no payload pass from the first to the second node of each pair.

        ``mode`` is ``hold`` or ``reset``; by default the run's option ``cut-mode`` says it, and if
        that is ``mixed`` the seed and ``id`` do.
        """
        mode = mode or self._mode
        if mode == "mixed":
            mode = "hold" if self._random.fraction("cut-mode", id) < 0.5 else "reset"
        await self._add(id, Cutting(links=tuple(links), reset=mode == "reset"), mode)

    async def shape(self, id: str, links: Cut, shape: Shape) -> None:  # noqa: A002
        """Delay the bytes of these directed links, or limit their rate.

        Raises:
            Unsupported: loss, duplication, reordering or corruption is asked for.
        """
        for name in ("loss", "duplicate", "reorder", "corrupt"):
            if getattr(shape, name):
                raise Unsupported(f"{name} on a link is not possible on local: {LOSS_NEEDS}")
        await self._add(id, Shaping(links=tuple(links), shape=shape), "shape")

    async def heal(self, id: str | None = None) -> None:  # noqa: A002
        """End the fault of that id; all of them for None."""
        async with self._turn:
            ended = list(self._faults) if id is None else [id] if id in self._faults else []
            for one in ended:
                del self._faults[one]
            await self._apply()
            for one in ended:
                self._journal.undone(self._acts.pop(one))

    async def _add(self, id: str, fault: Cutting | Shaping, how: str) -> None:  # noqa: A002
        self._check(fault.links)
        async with self._turn:
            number = self._journal.intent(
                "fault-links",
                target=[link_name(link) for link in fault.links],
                label=self._label,
                id=id,
                how=how,
                undo="end-proxies",
            )
            before = self._acts.get(id)
            self._faults[id], self._acts[id] = fault, number
            await self._apply()
            self._journal.done(number)
            if before is not None:
                self._journal.undone(before)

    async def _apply(self) -> None:
        states = fold(tuple(self._ports), self._faults.values())
        changed = {k: state for k, state in states.items() if state != self._states[k]}
        if self._proxies is not None and changed:
            await self._proxies.set({link_name(k): state for k, state in changed.items()})
        self._states = states

    def _check(self, links: Cut) -> None:
        for link in links:
            client = CLIENT in link
            known = (link[1], link[0]) if link[1] == CLIENT else link
            if known in self._ports:
                continue
            names = [*self._nodes, CLIENT]
            for name in link:
                if name not in names:
                    raise UnknownName("node", name, names)
            if client and self._proxies is not None:
                raise Unsupported(
                    f"link {link_name(link)}: clients dial nodes directly in this run; "
                    "start it with --option clients=cut"
                )
            raise Unsupported(
                f"link {link_name(link)} has no proxy in this run; start it without "
                "--option proxies=false"
            )

    async def reach(
        self, links: Cut, *, timeout_s: float = 0.5
    ) -> Mapping[tuple[str, str], bool | None]:
        """One-way probes, all at once; see ``probing``."""
        answers = await asyncio.gather(*(self._probe(link, timeout_s) for link in links))
        return dict(zip(links, answers, strict=True))

    async def _probe(self, link: Link, timeout_s: float) -> bool | None:
        a, b = link
        self._probes += 1
        nonce = self._random.draw("probe", self._probes) >> 12  # JSON readers keep 52 bits
        if CLIENT not in link:
            sender, receiver = self._nodes[a], self._nodes[b]
            port = self._ports.get(link)
            if port is None or (sender.controllable and receiver.controllable):
                return await probe_link(sender, receiver, nonce, timeout_s)
            return await self._knocks.reaches(sender, receiver, port, timeout_s)
        node = self._nodes[b if a == CLIENT else a]
        port = self._ports.get((CLIENT, node.name))
        if node.controllable:
            seen = await probe_client(node, port, nonce, timeout_s)
        else:
            seen = await self._knocks.client(node, port, timeout_s)
        return seen.arrived if a == CLIENT else seen.answered

    async def counts(self) -> Mapping[tuple[str, str], LinkCount]:
        """What both ends of each node link have counted, over all incarnations of each node.

        What a node counted after the last reading before its death is lost with it.
        """
        await asyncio.gather(*(self._read_counts(node) for node in self._nodes.values()))
        sent: dict[Link, int] = {}
        received: dict[Link, list[int]] = {}
        for (name, _), reading in self._readings.items():
            for peer, number in reading.get("sent", {}).items():
                sent[name, peer] = sent.get((name, peer), 0) + int(number)
            for peer, seen in reading.get("received", {}).items():
                total = received.setdefault((peer, name), [0] * len(_RECEIVED))
                for index, field in enumerate(_RECEIVED):
                    total[index] += int(seen.get(field, 0))
        none = [0] * len(_RECEIVED)
        return {
            (a, b): LinkCount(
                sent=sent.get((a, b), 0),
                **dict(zip(_RECEIVED, received.get((a, b), none), strict=True)),
            )
            for a in self._nodes
            for b in self._nodes
            if a != b
        }

    async def _read_counts(self, node: LocalNode) -> None:
        state = node.state()
        if not node.controllable or state.status != "running":
            return
        try:
            reading = await node.control("link-counts", {}, timeout_s=1.0)
        except (OSError, ValueError):
            return
        self._readings[node.name, state.incarnation] = reading

    async def round_trip_ms(self, a: str, b: str, *, timeout_s: float = 5.0) -> float | None:
        """An echo from a to b and back over the data link, timed here.

        Of a program without a control socket: what bytes take from a to b, and from b to a.
        """
        if not (self._nodes[a].controllable and self._nodes[b].controllable):
            return await self._ways_ms(a, b, timeout_s)
        began = time.monotonic_ns()
        try:
            answer = await self._nodes[a].control(
                "echo", {"to": b, "timeout_s": timeout_s}, timeout_s=timeout_s + _GRACE_S
            )
        except (OSError, ValueError):
            return None
        took = answer.get("round_trip_ms")
        return float(took) if took is not None else (time.monotonic_ns() - began) / 1e6

    async def _ways_ms(self, a: str, b: str, timeout_s: float) -> float | None:
        total_ms = 0.0
        for link in ((a, b), (b, a)):
            port = self._ports.get(link)
            if port is None:
                return None
            took_ms = await self._knocks.way_ms(self._nodes[link[1]], port, timeout_s)
            if took_ms is None:
                return None
            total_ms += took_ms
        return total_ms

    async def proxy_counts(self) -> Mapping[str, Counts]:
        """What the proxies counted, by link: support for a proof, never a proof."""
        return await self._proxies.counts() if self._proxies is not None else {}

    def port(self, link: Link) -> int | None:
        """The proxy's port of a link, None if it has no proxy."""
        return self._ports.get(link)

    @property
    def faults(self) -> Sequence[str]:
        """The ids of all faults in force."""
        return tuple(self._faults)


_RECEIVED = tuple(name for name in msgspec.structs.asdict(LinkCount()) if name != "sent")
