"""A minitikv that has been started: is it ready, who leads, and sessions with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import msgspec

from splitbrain.cluster.bugs.registry import (
    client_class,
    committer_class,
    resolver_class,
    txn_client_class,
)
from splitbrain.cluster.client.options import ClientOptions
from splitbrain.cluster.client.raw import Options, RawClient
from splitbrain.cluster.client.txn import TxnClient
from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.factory import build_node
from splitbrain.cluster.messages import Context
from splitbrain.cluster.messages.txn import ListRecords, ListRecordsReply
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Node, Program, Testbed
from splitbrain.contracts.workload import Kv, Transactions
from splitbrain.env import Caller, Pacer
from splitbrain.env.random import Random
from splitbrain.errors import Definite, NodeFailed
from splitbrain.systems.minitikv.replicas import ReplicaCheck
from splitbrain.systems.minitikv.transactions import Compare, TxnSession

__all__ = ["NodePlan", "RunningMinitikv", "start_stores"]

_READY_TIMEOUTS = 20
"""A leader is waited for so many election timeouts, and at least 10 s."""

_PRIMARY_TIMEOUT_S = 0.25


class NodePlan(msgspec.Struct, frozen=True):
    """What one node is to run."""

    store: StoreConfig
    pd: PdConfig | None = None


class KvSession:
    """The vocabulary ``kv`` over a raw client: values are JSON in bytes."""

    def __init__(self, client: RawClient, compare: Compare) -> None:
        self._client = client
        self.replicas = compare

    async def get(self, key: str) -> Any:
        """The value, or None."""
        return _decoded(await self._client.get(key.encode()))

    async def put(self, key: str, value: Any) -> None:
        """Set the value."""
        await self._client.put(key.encode(), msgspec.json.encode(value))

    async def delete(self, key: str) -> None:
        """Remove the key."""
        await self._client.delete(key.encode())

    async def cas(self, key: str, old: Any, new: Any) -> None:
        """Set ``new`` if the value is ``old``."""
        try:
            await self._client.cas(key.encode(), _encoded(old), _encoded(new))
        except Definite as error:
            if error.code != "cas-mismatch":
                raise
            seen = _decoded(error.observed)
            raise Definite("cas-mismatch", f"saw {seen}", observed=seen) from None

    async def close(self) -> None:
        """End the session."""
        await self._client.close()


def _encoded(value: Any) -> bytes | None:
    return None if value is None else msgspec.json.encode(value)


def _decoded(data: Any) -> Any:
    return None if data is None else msgspec.json.decode(data)


class _Shared:
    """A caller that many sessions use: closing a session leaves it open."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.call = caller.call

    async def close(self) -> None:
        """The owner closes it."""


class RunningMinitikv:
    """Stores on every node of a testbed, and the clients made so far."""

    def __init__(
        self,
        spec: TestSpec,
        testbed: Testbed,
        random: Random,
        pacer: Pacer,
        plans: Mapping[str, NodePlan],
        op_timeout_s: float,
    ) -> None:
        self._spec = spec
        self._testbed = testbed
        self._random = random
        self._pacer = pacer
        self._plans = plans
        prefer = str(spec.options.get("read-from", "bound"))
        self._options = Options(op_timeout_s=op_timeout_s, prefer=prefer)  # type: ignore[arg-type]
        self._op_timeout_s = op_timeout_s
        self._sessions: list[RawClient | TxnClient] = []
        self._caller: Caller | None = None

    async def ready(self) -> None:
        """Wait until a leader serves: it has applied an entry of its term, or answers a read."""
        config = self._plans[self._spec.nodes[0]].store
        limit_s = max(10.0, _READY_TIMEOUTS * config.election_timeout_s)
        deadline_ns = self._pacer.monotonic_ns() + int(limit_s * 1e9)
        while self._pacer.monotonic_ns() < deadline_ns:
            for name, status in (await self._statuses()).items():
                if status.get("role") == "leader" and (
                    (config.mode == "raw" and status.get("applied", 0) > 0)
                    or await self._serves(name, config)
                ):
                    return
            for crash in self._testbed.crashes():
                raise NodeFailed(crash.node, crash.reason, crash.log)
            await self._pacer.sleep(config.tick_ns / 1e9)
        node = self._testbed.node(self._spec.nodes[0])
        raise NodeFailed(node.name, f"no leader within {limit_s:g} s", await node.log_tail())

    async def _serves(self, leader: str, config: StoreConfig) -> bool:
        """Ask a leader that has not yet applied anything for a read, for three ticks at most."""
        if config.mode == "txn":  # the driver must serve, too
            try:
                reader = self._txn_client(0.5 * config.election_timeout_s)
                await (await reader.begin()).get(b"ready")
            except Definite:
                return False
            return True
        client = client_class(self._spec.bugs)(
            _Shared(self._shared_caller()),
            self._pacer,
            self._spec.nodes,
            self._random.stream("ready"),
            node=leader,
            options=Options(op_timeout_s=3 * config.tick_ns / 1e9),
        )
        try:
            await client.get(b"ready")
        except Definite:
            return False
        return True

    async def _statuses(self) -> Mapping[str, Mapping[str, Any]]:
        answers = await asyncio.gather(*map(self._status, self._testbed.nodes.values()))
        return {name: a for name, a in zip(self._testbed.nodes, answers, strict=True) if a}

    async def _status(self, node: Node) -> Mapping[str, Any]:
        if node.state().status != "running":
            return {}
        try:
            return await node.control("status", {}, timeout_s=_PRIMARY_TIMEOUT_S)
        except (ConnectionError, TimeoutError):
            return {}

    async def primaries(self) -> Sequence[str]:
        """Those that now believe to lead, newest term first."""
        statuses = await self._statuses()
        leaders = [
            (s["term"], name) for name, s in statuses.items() if s.get("role") == "leader"
        ]
        return [name for _, name in sorted(leaders, reverse=True)]

    async def kv(self, node: str) -> Kv:
        """A session that asks ``node`` first."""
        number = len(self._sessions)
        client = client_class(self._spec.bugs)(
            _Shared(self._shared_caller()),
            self._pacer,
            self._spec.nodes,
            self._random.stream("client", number),
            node=node,
            options=self._options,
        )
        self._sessions.append(client)
        return KvSession(client, self._compare)

    async def txn(self, node: str) -> Transactions:
        """A session of transactions; it goes wherever a region's leader is, whatever ``node``."""
        client = self._txn_client(self._op_timeout_s)
        self._sessions.append(client)
        ttl_ms = int(self._spec.options.get("lock-ttl-ms", self._op_timeout_s * 500))
        records = partial(self._records, node)
        return TxnSession(client, records, node=node, lock_ttl_ms=ttl_ms, compare=self._compare)

    async def _compare(self) -> list[dict[str, Any]]:
        """Whether the replicas of each region hold the same."""
        tick_s = self._plans[self._spec.nodes[0]].store.tick_ns / 1e9
        limit_s = 2 * self._op_timeout_s
        return await ReplicaCheck(
            self._testbed, self._spec.nodes, self._pacer, limit_s=limit_s, poll_s=tick_s
        ).run()

    async def _records(self, node: str) -> list[tuple[int, ListRecordsReply]]:
        """What ``node`` holds of the regions that it leads, confirmed by a majority."""
        try:
            answer = await self._testbed.node(node).control("regions", {}, timeout_s=1.0)
        except (ConnectionError, TimeoutError) as error:
            raise Definite("no-dump", str(error)) from error
        found = []
        for region in answer["regions"]:
            if region["role"] != "leader":
                continue
            conf_version, version = region["epoch"]
            request = ListRecords(Context(region["id"], conf_version, version))
            reply = await self._ask(node, request)
            if reply.region_error is not None:
                raise Definite("no-dump", f"region {region['id']}: {reply.region_error}")
            found.append((region["id"], reply))
        return found

    async def _ask(self, node: str, request: ListRecords) -> ListRecordsReply:
        try:
            reply: ListRecordsReply = await self._shared_caller().call(
                node, request, timeout_s=self._op_timeout_s
            )
        except (ConnectionError, TimeoutError, EOFError) as error:
            raise Definite("no-dump", str(error)) from error
        return reply

    def _txn_client(self, op_timeout_s: float) -> TxnClient:
        config = self._plans[self._spec.nodes[0]].store
        bugs = self._spec.bugs
        return txn_client_class(bugs)(
            _Shared(self._shared_caller()),
            self._pacer,
            config.pd,
            self._random.stream("client", len(self._sessions)),
            options=ClientOptions(op_timeout_s=op_timeout_s),
            committer=committer_class(bugs),
            resolver=resolver_class(bugs),
        )

    def _shared_caller(self) -> Caller:
        if self._caller is None:
            self._caller = self._testbed.caller("clients") or self._grpc_caller()
        return self._caller

    def _grpc_caller(self) -> Caller:
        from splitbrain.cluster.rpc.caller import GrpcCaller

        addresses = {node: self._testbed.client_address(node) for node in self._spec.nodes}
        return GrpcCaller(addresses, self._spec.nodes)

    async def admin(self, action: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask the node ``arguments["node"]`` to do ``action``."""
        rest = {name: value for name, value in arguments.items() if name != "node"}
        return await self._testbed.node(str(arguments["node"])).control(action, rest)

    async def probes(self) -> Mapping[str, int]:
        """Counts of the seeded bugs' changed paths, over stores alive and clients."""
        total: dict[str, int] = {}
        counted = [s.get("probes", {}) for s in (await self._statuses()).values()]
        counted += [client.probes for client in self._sessions]
        for probes in counted:
            for bug, count in probes.items():
                total[bug] = total.get(bug, 0) + int(count)
        return total

    async def stop(self) -> None:
        """End the stores; drop the clients' connections."""
        if self._caller is not None:
            await self._caller.close()
        await asyncio.gather(*(node.stop() for node in self._testbed.nodes.values()))


async def start_stores(
    spec: TestSpec,
    testbed: Testbed,
    random: Random,
    pacer: Pacer,
    plans: Mapping[str, NodePlan],
    op_timeout_s: float,
) -> RunningMinitikv:
    """Start a store on every node, and a member of the placement driver where one is to be."""
    nodes = testbed.nodes.values()
    await asyncio.gather(
        *(node.start(_program(testbed, node, plans[node.name], random)) for node in nodes)
    )
    return RunningMinitikv(spec, testbed, random, pacer, plans, op_timeout_s)


def _program(testbed: Testbed, node: Node, plan: NodePlan, random: Random) -> Program:
    settings = {
        "store": msgspec.to_builtins(plan.store),
        "pd": msgspec.to_builtins(plan.pd),
        "addresses": {name: other.address for name, other in testbed.nodes.items()},
        "dial": dict(testbed.links(node.name)),
        "data_dir": node.data_dir,
        "seed": random.draw("node", node.name) % (1 << 53),
    }
    path = str(PurePosixPath(node.config_dir) / "node.json")
    return Program(
        name="minitikv",
        argv=(node.python, "-m", "splitbrain.cluster.node", path),
        files={"node.json": msgspec.json.encode(settings)},
        control=True,
        build=lambda env: build_node(plan.store, plan.pd, env),
    )
