"""How a minitikv stands at one moment, from what its nodes say of themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from splitbrain.contracts.testbed import Node, Testbed

__all__ = ["Look", "StoreLook", "is_known", "look_at", "statuses"]

_STATUS_S = 0.5


class StoreLook(msgspec.Struct, frozen=True, kw_only=True):
    """One store at one moment: ``up`` or ``down``, regions on it, and those that it leads."""

    node: str
    address: str
    state: str
    regions: int = 0
    leaders: int = 0


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster at one moment.

    Attributes:
        driver: the member of the placement driver that leads, empty if none is known.
        regions: how many there are, those without a leader too.
        physical_ms: physical part of the last timestamp that it gave, or of where it begins.
        timestamps: how many it has given since its process began.
    """

    driver: str = ""
    stores: tuple[StoreLook, ...] = ()
    regions: int = 0
    physical_ms: int = 0
    timestamps: int = 0


def look_at(addresses: dict[str, str], said: dict[str, Any]) -> Look:
    """What the stores' own words come to; one that says nothing is down.

    >>> leads = {"regions": {"2": {"role": "leader"}, "7": {"role": "follower"}}}
    >>> leads["member"] = {"serves": True, "physical_ms": 5, "timestamps": 3}
    >>> look = look_at({"n1": "h:1", "n2": "h:2"}, {"n1": leads, "n2": {}})
    >>> look.driver, look.regions, look.timestamps
    ('n1', 2, 3)
    >>> [(store.state, store.regions, store.leaders) for store in look.stores]
    [('up', 2, 1), ('down', 0, 0)]
    """
    stores, found = [], set()
    driver, member = "", {}
    for node, address in addresses.items():
        status = said.get(node) or {}
        regions = status.get("regions", {})
        found |= regions.keys()
        stores.append(
            StoreLook(
                node=node,
                address=address,
                state="up" if status else "down",
                regions=len(regions),
                leaders=sum(one["role"] == "leader" for one in regions.values()),
            )
        )
        if status.get("member", {}).get("serves"):
            driver, member = node, status["member"]
    return Look(
        driver=driver,
        stores=tuple(stores),
        regions=len(found),
        physical_ms=member.get("physical_ms", 0),
        timestamps=member.get("timestamps", 0),
    )


def is_known(said: dict[str, Any]) -> bool:
    """Does the driver know who leads some region?"""
    members = [status.get("member", {}) for status in said.values()]
    stores = [
        one for each in members for one in each.get("cluster", {}).get("stores", {}).values()
    ]
    return any(one["leaders"] for one in stores)


async def statuses(testbed: Testbed) -> dict[str, Any]:
    """What each node says of itself; one that is down says nothing."""
    nodes = testbed.nodes
    answers = await asyncio.gather(*map(_status, nodes.values()))
    return dict(zip(nodes, answers, strict=True))


async def _status(node: Node) -> Any:
    if node.state().status != "running":
        return {}
    try:
        return await node.control("status", {}, timeout_s=_STATUS_S)
    except (OSError, ValueError):
        return {}
