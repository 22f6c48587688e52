"""A network whose stores answer by a script; PD is always well, and time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from splitbrain.cluster.client.backoff import Policy
from splitbrain.cluster.client.options import ClientOptions
from splitbrain.cluster.client.txn import TxnClient
from splitbrain.cluster.messages import pd
from splitbrain.cluster.messages.pd_types import PdMember, PdRegion, StoreMeta, split_ts
from splitbrain.cluster.messages.region import Epoch, Peer, Region
from splitbrain.cluster.mvcc.codec import encode_key
from splitbrain.env.random import Random

NODES = ("n1", "n2", "n3")
PEERS = tuple(Peer(10 + n, n) for n in (1, 2, 3))
STORES = tuple(StoreMeta(n + 1, node, labels=(("dc", node),)) for n, node in enumerate(NODES))
LEFT = Region(1, b"", encode_key(b"m"), Epoch(1, 2), PEERS)
RIGHT = Region(2, encode_key(b"m"), b"", Epoch(1, 2), tuple(Peer(20 + n, n) for n in (1, 2, 3)))
SECOND = 1_000_000_000


class Scripted:
    """Caller and Pacer; ``script(node, request)`` gives an answer or an exception, each after 1 ms.

    Attributes:
        sent: (node, request) for the stores, in order.
        pd_regions: what PD tells; each is led by n1.
    """

    def __init__(self, script: Callable[[str, Any], Any]) -> None:
        self.script = script
        self.now = 0
        self.sent: list[tuple[str, Any]] = []
        self.slept: list[float] = []
        self.pd_regions: Callable[[], tuple[Region, ...]] = lambda: (LEFT, RIGHT)
        self.asked: list[Any] = []
        self.ts = 1_000 << 18

    async def call(self, node: str, request: Any, *, timeout_s: float) -> Any:
        if isinstance(request, pd.PdRequest.__args__):
            self.asked.append(request)
            answer = self.pd(request)
        else:
            self.sent.append((node, request))
            answer = self.script(node, request)
        lost = isinstance(answer, TimeoutError)
        self.now += int(timeout_s * SECOND) if lost else SECOND // 1000
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pd(self, request: Any) -> Any:
        if isinstance(request, pd.Tso):
            self.ts += request.count
            return pd.TsoReply(*split_ts(self.ts), request.count)
        if isinstance(request, pd.GetAllStores):
            return pd.GetAllStoresReply(STORES)
        if isinstance(request, pd.GetMembers):
            return pd.GetMembersReply((PdMember("n1", 1),), "n1")
        regions = sorted(self.pd_regions(), key=lambda region: region.start)
        if isinstance(request, pd.ScanRegions):
            return pd.ScanRegionsReply(tuple(PdRegion(r, r.peers[0]) for r in regions))
        found = next(r for r in regions if r.covers(request.key))
        if isinstance(request, pd.GetPrevRegion):
            found = next(r for r in regions if r.end == found.start)
        return pd.GetRegionReply(PdRegion(found, found.peers[0]))

    async def close(self) -> None:
        """Nothing to close."""

    def monotonic_ns(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds > 1_000:
            await asyncio.Event().wait()  # a heartbeat that is not wanted
        self.slept.append(seconds)
        self.now += int(seconds * SECOND)

    @property
    def nodes(self) -> list[str]:
        return [node for node, _ in self.sent]

    def kinds(self) -> list[str]:
        return [type(request).__name__ for _, request in self.sent]


def client(network: Scripted, **options: Any) -> TxnClient:
    chosen = {"op_timeout_s": 2.0, "backoff": Policy(scale=0.1), **options}
    return TxnClient(
        network, network, NODES, Random(1).stream("client"), options=ClientOptions(**chosen)
    )


def in_turn(*answers: Any) -> Callable[[str, Any], Any]:
    """One answer after the other, the last one for ever."""
    left = list(answers)
    return lambda node, request: left.pop(0) if len(left) > 1 else left[0]
