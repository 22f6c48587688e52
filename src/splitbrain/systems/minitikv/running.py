"""A minitikv that has been started: is it ready, who leads, and sessions with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import msgspec

from splitbrain.cluster.bugs.registry import client_class
from splitbrain.cluster.client.raw import Options, RawClient
from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.factory import build_store
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Node, Program, Testbed
from splitbrain.contracts.workload import Kv
from splitbrain.env import Caller, Pacer
from splitbrain.env.random import Random
from splitbrain.errors import Definite, NodeFailed

__all__ = ["RunningMinitikv", "start_stores"]

_READY_TIMEOUTS = 20
"""A leader is waited for so many election timeouts, and at least 10 s."""

_PRIMARY_TIMEOUT_S = 0.25


class KvSession:
    """The vocabulary ``kv`` over a raw client: values are JSON in bytes."""

    def __init__(self, client: RawClient) -> None:
        self._client = client

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
        configs: Mapping[str, StoreConfig],
        op_timeout_s: float,
    ) -> None:
        self._spec = spec
        self._testbed = testbed
        self._random = random
        self._pacer = pacer
        self._configs = configs
        prefer = str(spec.options.get("read-from", "bound"))
        self._options = Options(op_timeout_s=op_timeout_s, prefer=prefer)  # type: ignore[arg-type]
        self._sessions: list[RawClient] = []
        self._caller: Caller | None = None

    async def ready(self) -> None:
        """Wait until a leader serves: it has applied an entry of its term, or answers a read."""
        config = self._configs[self._spec.nodes[0]]
        limit_s = max(10.0, _READY_TIMEOUTS * config.election_timeout_s)
        deadline_ns = self._pacer.monotonic_ns() + int(limit_s * 1e9)
        while self._pacer.monotonic_ns() < deadline_ns:
            for name, status in (await self._statuses()).items():
                if status.get("role") == "leader" and (
                    status.get("applied", 0) > 0 or await self._serves(name, config)
                ):
                    return
            for crash in self._testbed.crashes():
                raise NodeFailed(crash.node, crash.reason, crash.log)
            await self._pacer.sleep(config.tick_ns / 1e9)
        node = self._testbed.node(self._spec.nodes[0])
        raise NodeFailed(node.name, f"no leader within {limit_s:g} s", await node.log_tail())

    async def _serves(self, leader: str, config: StoreConfig) -> bool:
        """Ask a leader that has not yet applied anything for a read, for three ticks at most."""
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
        return KvSession(client)

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
    configs: Mapping[str, StoreConfig],
    op_timeout_s: float,
) -> RunningMinitikv:
    """Start a store on every node."""
    nodes = testbed.nodes.values()
    await asyncio.gather(
        *(node.start(_program(testbed, node, configs[node.name], random)) for node in nodes)
    )
    return RunningMinitikv(spec, testbed, random, pacer, configs, op_timeout_s)


def _program(testbed: Testbed, node: Node, config: StoreConfig, random: Random) -> Program:
    settings = {
        "store": msgspec.to_builtins(config),
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
        build=lambda env: build_store(config, env),
    )
