"""A plug-in for ``--load``: a store of replicas that tell each other of each write just once.

Each write carries a Lamport stamp and the last stamp wins, so replicas agree in the end, but for the
writes that a partition swallowed: those a part of the nodes never hears of.
"""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import Any

import msgspec

from splitbrain.contracts.fault import Fault, Limit
from splitbrain.contracts.testbed import Program
from splitbrain.errors import Undetermined


class Get(msgspec.Struct, frozen=True):
    key: str


class Put(msgspec.Struct, frozen=True):
    key: str
    value: Any


class Told(msgspec.Struct, frozen=True):
    key: str
    value: Any
    stamp: tuple[int, str]


class Replica:
    """One node."""

    def __init__(self, env):
        self.env = env
        self.held = {}
        self.clock = 0

    def start(self):
        self.env.log("open")

    def on_message(self, sender, message):
        if isinstance(message, Get):
            held = self.held.get(message.key)
            self.env.transport.send(sender, held and held.value)
            return
        if isinstance(message, Put):
            told = Told(message.key, message.value, (self.clock + 1, self.env.node))
            for peer in self.env.peers:
                if peer != self.env.node:
                    self.env.transport.send(peer, told)
            self.env.transport.send(sender, None)
            message = told
        self.clock = max(self.clock, message.stamp[0])
        held = self.held.get(message.key)
        if held is None or held.stamp < message.stamp:
            self.held[message.key] = message

    def status(self):
        return {"keys": len(self.held)}

    def control(self, verb, arguments):
        raise ValueError(f"unknown verb {verb!r}")


class Session:
    """Speaks to one node."""

    def __init__(self, caller, node):
        self.caller, self.node = caller, node

    async def ask(self, request):
        try:
            return await self.caller.call(self.node, request, timeout_s=1.0)
        except (ConnectionError, TimeoutError, EOFError) as error:
            raise Undetermined("no-answer", str(error)) from error

    async def get(self, key):
        return await self.ask(Get(key))

    async def put(self, key, value):
        await self.ask(Put(key, value))

    async def close(self):
        pass


class Running:
    """All replicas."""

    def __init__(self, testbed):
        self.testbed = testbed
        self.caller = testbed.caller("clients")

    async def ready(self):
        pass

    async def primaries(self):
        return []

    async def kv(self, node):
        return Session(self.caller, node)

    async def probes(self):
        return {}

    async def stop(self):
        await self.caller.close()


class Drifting:
    name = "drifting"
    vocabularies = frozenset({"kv"})
    bugs = MappingProxyType({})
    admin_actions = frozenset()
    fault_model = MappingProxyType({Fault.PARTITION: Limit()})

    def election_timeout_s(self, spec):
        return 1.0

    def times(self, spec):
        return {}

    def validate(self, spec):
        pass

    def schedule(self, name):
        raise KeyError(name)

    async def start(self, spec, testbed, random, pacer):
        program = Program(name="drifting", control=True, build=Replica)
        await asyncio.gather(*(node.start(program) for node in testbed.nodes.values()))
        return Running(testbed)


SYSTEMS = {"drifting": Drifting}
