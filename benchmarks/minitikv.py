"""What minitikv does on processes of one machine: raw puts, ways to commit, time without a leader.

    python benchmarks/minitikv.py [puts] [commits] [failover] [default-timers]
                                  [--seconds 10] [--clients 64] [--kills 10]

Three stores with three members of the placement driver beside them, on ``local``, dialling each other
directly (no proxies); every acknowledgement comes after an fsync on a majority (``local_puts.py``
counts those from outside).  All clients live in this process, which takes its share of the cores.

    puts             100 bytes by all clients, each one after the other; by unary calls, then over one
                     BatchCommands stream a store
    commits          optimistic transactions that write four keys which nobody else writes, over one
                     region and over four (one key in each), by each commit path; ``by-region`` is plain
                     with one Prewrite for each region in turn instead of one for each key: no option
                     says so, a subclass here does
    failover         kills of the store that leads the region; from the kill's request to the first
                     success of a put asked for after it, in units of T = 1 s; a store's own member of
                     the placement driver dies with it, sometimes its leader
    default-timers   the same, once, at scale 1: heartbeat 1 s, T = 3 s, lease 2 s

Figures are printed, never asserted; the load average beside them says what else the machine did, and
the processor time of one put or transaction, all clients' and all three stores', depends on it least.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from functools import partial

from minitikv_cluster import NODES, Step, Told, World, load, patiently, repeat, run

from splitbrain.cluster.client.backoff import Patience
from splitbrain.cluster.client.committer import Committer
from splitbrain.cluster.client.options import ClientOptions, TxnOptions
from splitbrain.cluster.client.raw import RawClient
from splitbrain.cluster.client.txn import TxnClient
from splitbrain.cluster.messages.pd import AllocId
from splitbrain.cluster.rpc.caller import GrpcCaller

VALUE = b"v" * 100
SPLIT_AT = ("1", "2", "3")
CPU = "clients,  stores: us each"
SETTLED_S = 4.0
DOWN_S = 4.0
PARTS = ("puts", "commits", "failover", "default-timers")
PATHS = ("plain", "by-region", "parallel", "async", "one-phase")


class ByRegion(Committer):
    """Plain, but for one Prewrite of all keys of a region."""

    async def _prewrite_phase(self, patience: Patience) -> bool:
        self._choose_primary()
        self.standing.path = "plain"
        self.standing.prewriting = True
        await self.access.by_region(self.keys, patience, self._prewrite_part, parallel=False)
        return False


# --- raw puts -------------------------------------------------------------------------------------


def putting(client: RawClient, number: int) -> Step:
    return lambda count: client.put(b"%d/%d" % (number, count % 100), VALUE)


async def written(world: World) -> tuple[int, int]:
    """Log entries and syncs of the stores' files, all together."""
    answers = [await node.control("status", {}) for node in world.testbed.nodes.values()]
    found = [answer.get("store", answer) for answer in answers]
    return sum(s["entries_written"] for s in found), sum(s["syncs"] for s in found)


def puts(clients: int, seconds: float) -> None:
    """Unary, then batched."""

    async def body(world: World) -> None:
        print(f"{'':10}   puts/s    p50 ms    p99 ms  {CPU}   failed")
        for batch in (False, True):
            caller = world.caller(batch=batch)
            sessions = world.raw(caller, clients, 10.0)
            before = await written(world)
            line = await load([putting(one, n) for n, one in enumerate(sessions)], seconds)
            entries, syncs = (b - a for a, b in zip(before, await written(world), strict=True))
            print(f"{'batched' if batch else 'unary':10}{line}", flush=True)
            print(f"{'':10} {entries / max(1, syncs):.1f} entries a sync", flush=True)
            await caller.close()

    print(f"\nRaw puts of {len(VALUE)} bytes by {clients} clients")
    run("raw", 1 / 3, body)


# --- commits --------------------------------------------------------------------------------------


def committing(client: TxnClient, number: int, options: TxnOptions) -> Step:
    """Four keys, the first digit of which says where they lie once the region is split."""

    async def step(count: int) -> None:
        txn = await client.begin(options)
        for digit in range(4):
            await txn.put(b"%d/%d/%d" % (digit, number, count % 100), VALUE)
        await txn.commit()

    return step


async def split(world: World) -> None:
    """Four regions, with ids of PD, by the verb of the leading store."""
    caller = world.caller(batch=False)
    for key in SPLIT_AT:
        last = await patiently(partial(_ids, caller))
        await patiently(partial(_split, world, key, last))
        await asyncio.sleep(0.5)
    await caller.close()


async def _ids(caller: GrpcCaller) -> int:
    """The last of four new ids; 0: nobody gave any."""
    for node in NODES:
        reply = await caller.call(node, AllocId(4), timeout_s=2.0)
        if reply.error is None:
            return int(reply.id)
    return 0


async def _split(world: World, key: str, last: int) -> bool:
    """Ask the leader of the first region, which is ever the right part."""
    arguments = {"key": key, "id": last - 3, "peers": [last - 2, last - 1, last]}
    for node in world.testbed.nodes.values():
        answer = await node.control("split", {**arguments, "region": 1}, timeout_s=2.0)
        if answer["started"]:
            return True
    return False


async def settled(world: World) -> None:
    """Wait until each region is led, and the placement driver has stopped moving leaderships."""
    before, since = "", time.monotonic()
    while time.monotonic() - since < SETTLED_S:
        await asyncio.sleep(0.5)
        now = await leaders(world)
        if now != before or sum(int(one.split()[1]) for one in now.split(",")) <= len(SPLIT_AT):
            before, since = now, time.monotonic()


async def leaders(world: World) -> str:
    """How many regions each store leads."""
    found = []
    for name, node in world.testbed.nodes.items():
        regions = (await node.control("regions", {}, timeout_s=2.0))["regions"]
        found.append(f"{name} {sum(one['role'] == 'leader' for one in regions)}")
    return ", ".join(found)


def commits(clients: int, seconds: float) -> None:
    """Each path over one region, then over four."""

    async def compare(world: World) -> None:
        print(f"{'':10}    txn/s    p50 ms    p99 ms  {CPU}   to plain, to by-region; failed")
        rates: dict[str, float] = {}
        for path in PATHS:
            caller = world.caller(batch=True)
            kind = ByRegion if path == "by-region" else Committer
            options = TxnOptions(
                commit_path="plain" if path == "by-region" else path,  # type: ignore[arg-type]
                lock_ttl_ms=20_000,
            )
            client = TxnClient(
                caller,
                world.pacer,
                NODES,
                world.random.stream("txn", path),
                options=ClientOptions(op_timeout_s=10.0),
                committer=kind,
            )
            line = await load([committing(client, n, options) for n in range(clients)], seconds)
            rates[path] = float(line[:9].replace(",", ""))
            ratios = [rates[path] / rates[base] for base in PATHS[:2] if rates.get(base)]
            shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"{path:10}{line[:49]}   {shown}; {line[49:].strip()}", flush=True)
            await client.close()

    async def body(world: World) -> None:
        print(f" one region, led by: {await leaders(world)}")
        await compare(world)
        await split(world)
        await settled(world)
        print(f" four regions, led by: {await leaders(world)}")
        await compare(world)

    print(f"\nTransactions of 4 keys by {clients} clients, over BatchCommands")
    run("txn", 1 / 3, body)


# --- failover -------------------------------------------------------------------------------------


async def gap_s(world: World, told: Told) -> float:
    """Kill the leader; until a put succeeded that was asked for later.  The store comes back."""
    leading = await patiently(world.running.primaries)
    node = world.testbed.node(leading[0])
    began = time.monotonic_ns()
    await node.kill()
    dead, seen = time.monotonic_ns(), len(told.spans_ns)
    while time.monotonic_ns() - began < 30e9:
        for asked, acked in told.spans_ns[seen:]:
            if asked >= dead:
                await asyncio.sleep(max(0.0, DOWN_S - (time.monotonic_ns() - began) / 1e9))
                await node.restart()
                return (acked - began) / 1e9
        await asyncio.sleep(0.02)
    raise SystemExit("no put has succeeded for 30 s after the kill: no figure")


def failover(kills: int, scale: float) -> None:
    """Gaps in T, or, at scale 1, in seconds."""

    async def body(world: World) -> None:
        t_s = 3 * scale
        caller, told, stop = world.caller(batch=True), Told(), asyncio.Event()
        sessions = world.raw(caller, 10, 2 * t_s)
        steps = [_slowly(putting(one, n)) for n, one in enumerate(sessions)]
        clients = [asyncio.create_task(repeat(step, told, stop)) for step in steps]
        gaps, pause = [], world.random.stream("kills")  # not in step with ticks
        for _ in range(kills):
            await asyncio.sleep(4 * t_s + pause.random())
            gaps.append(await gap_s(world, told))
        stop.set()
        await asyncio.gather(*clients)
        await caller.close()
        print("  in s: " + "  ".join(f"{gap:.2f}" for gap in gaps))
        print(
            f"  median {statistics.median(gaps) / t_s:.2f} T, longest {max(gaps) / t_s:.2f} T"
        )

    print(f"\nFirst success after the kill of the leader, {kills} times, T = {3 * scale:g} s")
    run("raw", scale, body)


def _slowly(step: Step) -> Step:
    """At most ten times a second."""

    async def slow(count: int) -> None:
        await asyncio.sleep(0.1)
        await step(count)

    return slow


def main() -> None:
    parser = argparse.ArgumentParser(description="minitikv on processes of one machine.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--kills", type=int, default=10)
    given = parser.parse_args()
    parts = given.parts or PARTS
    if set(parts) - set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    if "puts" in parts:
        puts(given.clients, given.seconds)
    if "commits" in parts:
        commits(given.clients, given.seconds)
    if "failover" in parts:
        failover(given.kills, 1 / 3)
    if "default-timers" in parts:
        failover(1, 1.0)


if __name__ == "__main__":
    main()
