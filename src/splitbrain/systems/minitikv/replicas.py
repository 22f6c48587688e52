"""Are the replicas of each region equal?  Asked of a running minitikv, see ``cluster.store.hashes``.

For each region its leader starts a check; then every replica is asked for the root of the tree that it
made at that entry of the log.  Where roots differ, only unequal branches are descended, and the
items at their ends compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from splitbrain.cluster.mvcc.codec import decode_key, split_version
from splitbrain.cluster.mvcc.records import decode_lock, decode_record
from splitbrain.cluster.storage.columns import Column
from splitbrain.contracts.testbed import Testbed
from splitbrain.env import Pacer

__all__ = ["ReplicaCheck", "differences"]

DIFFERENCES_MAX = 50
TEXT_MAX = 100
_ASK_S = 1.0

Nodes = Mapping[str, Mapping[str, Any]]
"""What each replica answered of one node of its tree, by the store's name."""


class ReplicaCheck:
    """One check of all regions.

    Args:
        testbed: whose nodes are asked.
        nodes: names of the stores, by their ids.
        pacer: time.
        limit_s: how long replicas are waited for.
        poll_s: how often they are asked.
    """

    def __init__(
        self,
        testbed: Testbed,
        nodes: Sequence[str],
        pacer: Pacer,
        *,
        limit_s: float,
        poll_s: float,
    ) -> None:
        self._testbed = testbed
        self._nodes = nodes
        self._pacer = pacer
        self._poll_s = poll_s
        self._end_ns = pacer.monotonic_ns() + int(limit_s * 1e9)

    async def run(self) -> list[dict[str, Any]]:
        """What each region known to any store came to, by number.

        ``region``, its number; ``index`` of the entry; ``roots`` by node; ``skipped``, the replicas
        that made no tree, with a word why; ``keys``, the most that a replica holds; ``diff``, if
        roots differ: column, key, version, and what each replica ``held``; ``more`` than were told.
        """
        while True:
            leaders = await self._leaders()
            if all(leaders.values()) and leaders:
                break
            if not await self._wait():
                break
        found = [self._region(number, told) for number, told in sorted(leaders.items())]
        return list(await asyncio.gather(*found))

    async def _ask(self, node: str, verb: str, **arguments: Any) -> Mapping[str, Any]:
        """The answer; nothing at all from one that is down, or has no such peer."""
        try:
            return await self._testbed.node(node).control(verb, arguments, timeout_s=_ASK_S)
        except (ConnectionError, TimeoutError, ValueError):
            return {}

    async def _wait(self) -> bool:
        if self._pacer.monotonic_ns() >= self._end_ns:
            return False
        await self._pacer.sleep(self._poll_s)
        return True

    async def _leaders(self) -> dict[int, Mapping[str, Any]]:
        """By region what its leader says of it, of the newest epoch; nothing where nobody leads."""
        answers = await asyncio.gather(*(self._ask(node, "regions") for node in self._nodes))
        leaders: dict[int, Mapping[str, Any]] = {}
        for node, answer in zip(self._nodes, answers, strict=True):
            for told in answer.get("regions", ()):
                best = leaders.setdefault(told["id"], {})
                newer = told.get("epoch", [0, 0]) >= best.get("epoch", [0, 0])
                if told["role"] == "leader" and newer:
                    leaders[told["id"]] = {**told, "node": node}
        return leaders

    async def _region(self, number: int, told: Mapping[str, Any]) -> dict[str, Any]:
        nodes = [self._nodes[store - 1] for _, store, _ in told.get("peers", ())]
        begun = await self._ask(told["node"], "hash", region=number) if told else {}
        report: dict[str, Any] = {"region": number, "index": 0, "roots": {}, "skipped": {}}
        if not begun.get("started"):
            return {**report, "skipped": dict.fromkeys(nodes, "no-check")}
        place = {"region": number, "index": begun["index"], "term": begun["term"]}
        roots = await self._roots(nodes, place)
        made = {node: root for node, root in roots.items() if root.get("state") == "hashed"}
        report["index"] = begun["index"]
        report["roots"] = {node: root["hash"] for node, root in made.items()}
        report["skipped"] = {
            node: str(root.get("state", "no-answer"))
            for node, root in roots.items()
            if node not in made
        }
        report["keys"] = max((root["below"] for root in made.values()), default=0)
        if len(set(report["roots"].values())) > 1:
            found = await self._differing(place, "", made)
            report |= {
                "diff": found[:DIFFERENCES_MAX],
                "more": max(0, len(found) - DIFFERENCES_MAX),
            }
        return report

    async def _roots(
        self, nodes: Sequence[str], place: Mapping[str, Any]
    ) -> dict[str, Mapping[str, Any]]:
        """Each replica's root, once all have applied the entry or the time is up."""
        while True:
            asked = (self._ask(node, "hash-node", **place) for node in nodes)
            roots = dict(zip(nodes, await asyncio.gather(*asked), strict=True))
            waiting = [r for r in roots.values() if r.get("state", "pending") == "pending"]
            if not waiting or not await self._wait():
                return roots

    async def _differing(
        self, place: Mapping[str, Any], path: str, made: Nodes
    ) -> list[dict[str, Any]]:
        """Below ``path``, at which ``made`` differ; no more than are told, and a few."""
        if all(node["below"] <= len(node["items"]) for node in made.values()):
            return differences(made)
        found: list[dict[str, Any]] = []
        for digit, branches in enumerate(
            zip(*(n["branches"] for n in made.values()), strict=True)
        ):
            if len(set(branches)) == 1 or len(found) > DIFFERENCES_MAX:
                continue
            deeper = f"{path}{digit:x}"
            asked = (self._ask(node, "hash-node", path=deeper, **place) for node in made)
            answers = dict(zip(made, await asyncio.gather(*asked), strict=True))
            below = {node: one for node, one in answers.items() if one.get("state") == "hashed"}
            if len(below) > 1:  # else one has died meanwhile: the roots tell enough
                found += await self._differing(place, deeper, below)
        return found


def differences(made: Nodes) -> list[dict[str, Any]]:
    """Column, key, version and what each replica holds, where not all hold the same.

    ``made``: of each replica a node of its tree that tells its items.
    """
    held: dict[tuple[int, str], dict[str, str]] = {}
    for node, told in made.items():
        for column, key, value in told["items"]:
            held.setdefault((column, key), {})[node] = value
    found = []
    for (number, stored), values in sorted(held.items()):
        if len(values) == len(made) and len(set(values.values())) == 1:
            continue
        column = Column(number)
        key, version = _named(column, bytes.fromhex(stored))
        found.append(
            {
                "column": column.name.lower(),
                "key": key,
                "version": version,
                "held": {
                    node: _told(column, bytes.fromhex(values[node])) if node in values else None
                    for node in made
                },
            }
        )
    return found


def _named(column: Column, stored: bytes) -> tuple[str, int]:
    """The user's key, and the timestamp of the version (0: it has none)."""
    version = 0
    key = stored
    try:
        if column in (Column.DEFAULT, Column.WRITE):
            key, version = split_version(stored)
        if column is not Column.RAW:
            key = decode_key(key)
    except ValueError:
        return f"0x{stored.hex()}", 0
    return _text(key), version


def _told(column: Column, value: bytes) -> str:
    """A value in words; as it is where it is no lock or record."""
    try:
        if column is Column.WRITE:
            record = decode_record(value)
            short = "" if record.short_value is None else f": {_text(record.short_value)}"
            return f"{record.kind.name.lower()} of {record.start_ts}{short}"
        if column is Column.LOCK:
            lock = decode_lock(value)
            return f"{lock.kind.name.lower()} lock of {lock.start_ts}"
    except ValueError:
        pass
    return _text(value)


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = f"0x{data.hex()}"
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}... ({len(data)} bytes)"
