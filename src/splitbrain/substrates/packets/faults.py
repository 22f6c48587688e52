"""What all faults together make of each node: a pure fold, so that healing one leaves the rest.

A cut of i to j is done at j, which drops what comes from i; so it holds against packets that were on
their way, too.  A shape of i to j is done at i, to what leaves for j.  Our clients have no agent, so
links to and from them are faulted at the node.

Delays and jitters add up, probabilities combine as of independent events, the lowest rate holds.

    >>> ips = {"n1": "10.0.0.1", "n2": "10.0.0.2"}
    >>> orders = fold(ips, {}, [LinkFault(links=(("n1", "n2"),))])
    >>> orders["n2"].cut_from, orders["n1"].cut_from
    (('10.0.0.1',), ())
    >>> lossy = LinkFault(links=(("n1", "n2"),), shape=Shape(loss=0.5))
    >>> fold(ips, {}, [lossy, lossy])["n1"].shape_to["10.0.0.2"].loss
    0.75
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from splitbrain.contracts.fault import Cut, Shape

__all__ = ["CLIENT", "Link", "LinkFault", "Orders", "fold"]

CLIENT = "client"
Link = tuple[str, str]


class LinkFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that is in force: a shape, or a cut if ``shape`` is None."""

    links: Cut
    shape: Shape | None = None


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What one node's agent is to do, by address.

    Attributes:
        cut_from: drop what comes from these.
        cut_to: drop what leaves for these.
        shape_from: shape what comes from these.
        shape_to: shape what leaves for these.
    """

    cut_from: tuple[str, ...] = ()
    cut_to: tuple[str, ...] = ()
    shape_from: Mapping[str, Shape] = {}
    shape_to: Mapping[str, Shape] = {}

    def cut_arguments(self) -> dict[str, Any]:
        """As the agent's verb ``cut`` takes them."""
        return {"from": list(self.cut_from), "to": list(self.cut_to)}

    def shape_arguments(self) -> dict[str, Any]:
        """As the agent's verb ``shape`` takes them."""
        return {
            "from": {ip: msgspec.to_builtins(shape) for ip, shape in self.shape_from.items()},
            "to": {ip: msgspec.to_builtins(shape) for ip, shape in self.shape_to.items()},
        }


def fold(
    ips: Mapping[str, str], client: Mapping[str, str], faults: Iterable[LinkFault]
) -> Mapping[str, Orders]:
    """The orders of each node.

    Args:
        ips: the nodes' addresses, by name.
        client: for each node the address from which our clients' packets come.
        faults: those in force; all of their links must be known.
    """
    cuts: set[Link] = set()
    shapes: dict[Link, Shape] = {}
    for fault in faults:
        for link in fault.links:
            if fault.shape is None:
                cuts.add(link)
            else:
                shapes[link] = _both(shapes.get(link, _CLEAN), fault.shape)

    def far(name: str, node: str) -> str:
        return client[node] if name == CLIENT else ips[name]

    return {
        node: Orders(
            cut_from=tuple(sorted(far(i, node) for i, j in cuts if j == node)),
            cut_to=tuple(sorted(client[i] for i, j in cuts if i == node and j == CLIENT)),
            shape_from={
                client[j]: shape
                for (i, j), shape in sorted(shapes.items())
                if j == node and i == CLIENT
            },
            shape_to={far(j, i): s for (i, j), s in sorted(shapes.items()) if i == node},
        )
        for node in ips
    }


def _both(one: Shape, other: Shape) -> Shape:
    rates = [rate for rate in (one.rate_kbps, other.rate_kbps) if rate > 0]
    return Shape(
        delay_ms=one.delay_ms + other.delay_ms,
        jitter_ms=one.jitter_ms + other.jitter_ms,
        loss=_either(one.loss, other.loss),
        duplicate=_either(one.duplicate, other.duplicate),
        reorder=_either(one.reorder, other.reorder),
        corrupt=_either(one.corrupt, other.corrupt),
        rate_kbps=min(rates, default=0.0),
    )


def _either(one: float, other: float) -> float:
    return 1.0 - (1.0 - one) * (1.0 - other)


_CLEAN = Shape()
