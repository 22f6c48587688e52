"""Random runs: clients move money and append to lists; then every promise is looked at.

money       the sum of all accounts is the same as of every timestamp
lists       an append that was answered is there once; one that failed is not; else at most once
reads       are what was committed as of their timestamp
outcomes    ok: all of it is committed, where it says; failed: nothing of it ever; unknown: all or
            nothing
updates     of two writers of one key the later began after the earlier's commit
real time   who begins after an answer sees what was answered
locks       whoever writes every key in the end is not blocked for ever, and leaves none
"""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from typing import Any, NamedTuple

from splitbrain.cluster.client.backoff import Policy
from splitbrain.cluster.client.options import ClientOptions, TxnOptions
from splitbrain.cluster.client.standing import Dropped
from splitbrain.cluster.client.txn import Transaction, TxnClient
from splitbrain.cluster.messages.txn import MutationKind
from splitbrain.cluster.mvcc.records import WriteKind
from splitbrain.env.random import Random
from splitbrain.errors import Definite, Undetermined
from splitbrain.substrates.sim.loop import SimLoop

from .fake import FakeCluster

ACCOUNTS = tuple(b"account-%d" % n for n in range(4))
LISTS = (b"list-0", b"list-1")
EACH = 100
PATHS = ("plain", "parallel", "async", "one-phase")


class Broken(Exception):
    """A promise was not kept; ``probed``: how often the planted bug's path had been taken."""

    probed = 0


class Record:
    """One transaction as its client saw it."""

    def __init__(self, txn: Transaction, now_ns: int) -> None:
        self.txn = txn
        self.began_ns = now_ns
        self.ended_ns = 0
        self.outcome = "open"
        self.reads: list[tuple[bytes, int, bytes | None]] = []

    @property
    def start_ts(self) -> int:
        return self.txn.facts.start_ts

    def __repr__(self) -> str:
        return f"<{self.outcome} {self.txn.facts}>"


class Plan(NamedTuple):
    """What may be chosen in a run."""

    paths: tuple[str, ...] = PATHS
    pessimistic: bool | None = None
    calm: bool = False
    make: Any = TxnClient
    parts: dict[str, Any] = {}  # noqa: RUF012 - never changed
    trouble: float | None = None


class Bank:
    def __init__(self, seed: int, plan: Plan) -> None:
        self.stream = random.Random(f"bank/{seed}")
        self.seed = seed
        self.plan = plan
        self.cluster = FakeCluster(self.stream, calm=plan.calm)
        chances = (0.0, 0.1, 0.3) if plan.trouble is None else (plan.trouble,)
        self.trouble = 0.0 if plan.calm else self.stream.choice(chances)
        self.ttl_ms = self.stream.choice((30, 80, 200))
        self.records: list[Record] = []
        self.appends: dict[bytes, str] = {}
        self.clients: list[TxnClient] = []
        self.outcomes: dict[str, int] = {}

    def client(self, number: int, *, last: bool = False) -> TxnClient:
        make = TxnClient if last else self.plan.make
        parts = {} if last else self.plan.parts
        options = ClientOptions(
            op_timeout_s=20.0 if last else 1.0,
            rpc_timeout_s=0.1,
            pd_timeout_s=0.1,
            backoff=Policy(scale=0.05),
            breaker_cooldown_s=0.05,
        )
        stream = Random(self.seed).stream("client", number)
        client = make(
            self.cluster, self.cluster, ("n1", "n2", "n3"), stream, options=options, **parts
        )
        if not last:
            self.clients.append(client)
        return client

    # -- the run -----------------------------------------------------------------------------

    async def run(self) -> None:
        await self.fill()
        draw, cluster = self.stream, self.cluster
        if not self.plan.calm:
            for _ in range(draw.choice((0, 1, 4))):
                cluster.later(draw.random() * 500, cluster.move_leader)
            for _ in range(draw.choice((0, 1, 2))):
                key = draw.choice([*ACCOUNTS, *LISTS])
                cluster.later(draw.random() * 500, cluster.split_at, key)
            if draw.random() < 0.3:
                cluster.later(draw.random() * 300, cluster.move_pd)
            if draw.random() < 0.3:
                cluster.later(100, cluster.down.add, "n3")
                cluster.later(400, cluster.down.discard, "n3")
        await asyncio.gather(*(self.life(self.client(n), n) for n in range(3)))
        cluster.loss = cluster.reset = 0.0
        await self.sweep()
        self.judge()

    async def fill(self) -> None:
        """The beginning, in fair weather."""
        cluster = self.cluster
        keep = cluster.loss, cluster.reset
        cluster.loss = cluster.reset = 0.0
        client = self.client(99, last=True)
        txn = await client.begin()
        for key in ACCOUNTS:
            await txn.put(key, b"%d" % EACH)
        self.records.append(record := Record(txn, cluster.monotonic_ns()))
        await txn.commit()
        await client.access.background.idle()
        record.outcome, record.ended_ns = "ok", cluster.monotonic_ns()
        for key in self.stream.sample([*ACCOUNTS, *LISTS], self.stream.randrange(3)):
            cluster.split_at(key)
        cluster.loss, cluster.reset = keep

    async def life(self, client: TxnClient, number: int) -> None:
        for turn in range(self.stream.randint(2, 5)):
            kind = self.stream.choice(("transfer", "transfer", "append", "append", "look"))
            if kind == "append":
                await self.append(client, b"<%d.%d>" % (number, turn))
            else:
                await self.by_hand(client, self.transfer if kind == "transfer" else self.look)
            await self.cluster.sleep(self.stream.random() * 0.02)

    def options(self) -> TxnOptions:
        draw, plan = self.stream, self.plan
        pessimistic = draw.random() < 0.3 if plan.pessimistic is None else plan.pessimistic
        return TxnOptions(
            pessimistic=pessimistic,
            isolation=draw.choice(("snapshot", "snapshot", "serializable")),
            commit_path=draw.choice(plan.paths),  # type: ignore[arg-type]
            lock_ttl_ms=self.ttl_ms,
            heartbeat_s=draw.choice((0.02, 10.0)),
            wait_ms=draw.choice((-1, 0)),
            retries_max=3,
            read_from=draw.choice(("leader", "leader", "follower", "closest")),
        )

    async def hook(self, step: str, standing: Any) -> None:
        draw = self.stream.random()
        if draw < self.trouble / 8:
            raise Dropped
        if draw < self.trouble / 3:
            await self.cluster.sleep(self.stream.random() * self.ttl_ms * 3 / 1e3)

    # -- what they do ------------------------------------------------------------------------

    async def by_hand(self, client: TxnClient, body: Any) -> None:
        asked_ns = self.cluster.monotonic_ns()
        try:
            txn = await client.begin(self.options(), hook=self.hook)
        except Definite:
            return
        record = self.note(txn, asked_ns)
        try:
            await body(txn, record)
            await txn.commit()
            self.ended(record, "ok")
        except Definite as error:
            await txn.rollback()
            self.ended(record, "failed", error.code)
        except Undetermined as error:
            self.ended(record, "unknown", error.code)

    def note(self, txn: Transaction, asked_ns: int) -> Record:
        """``asked_ns``: before it asked for its timestamp."""
        self.records.append(record := Record(txn, asked_ns))
        return record

    def ended(self, record: Record, outcome: str, code: str = "") -> None:
        record.outcome, record.ended_ns = outcome, self.cluster.monotonic_ns()
        name = f"{outcome}/{code}" if code else outcome
        self.outcomes[name] = self.outcomes.get(name, 0) + 1

    async def read(self, txn: Transaction, record: Record, key: bytes) -> bytes | None:
        """As a reader must who will write: by locks, if the transaction has them."""
        if not txn._standing.options.pessimistic:
            value = await txn.get(key)
            record.reads.append((key, record.start_ts, value))
            return value
        value = await txn.get_for_update(key)
        record.reads.append((key, txn.facts.for_update_ts[key], value))
        return value

    async def transfer(self, txn: Transaction, record: Record) -> None:
        one, other = self.stream.sample(ACCOUNTS, 2)
        amount = self.stream.randint(1, 9)
        have = int(await self.read(txn, record, one) or b"0")
        there = int(await self.read(txn, record, other) or b"0")
        await txn.put(one, b"%d" % (have - amount))
        await txn.put(other, b"%d" % (there + amount))

    async def look(self, txn: Transaction, record: Record) -> None:
        ts, shape = record.start_ts, self.stream.randrange(4)
        if shape == 0:
            found = await txn.batch_get(ACCOUNTS)
        elif shape == 1:
            found = dict(await txn.scan(b"account", b"b"))
        elif shape == 2:
            found = dict(await txn.scan(b"b", b"account", reverse=True))
        else:
            got = [(key, await txn.get(key)) for key in ACCOUNTS]
            found = {key: value for key, value in got if value is not None}
        record.reads += ((key, ts, found.get(key)) for key in ACCOUNTS)

    async def append(self, client: TxnClient, tag: bytes) -> None:
        """Through ``run``, which may begin anew."""
        keys = self.stream.sample(LISTS, self.stream.randint(1, 2))
        tries: list[Record] = []
        asked_ns = self.cluster.monotonic_ns()

        async def body(txn: Transaction) -> None:
            if tries:
                self.ended(tries[-1], "failed", "retried")
            txn._standing._hook = self.hook
            tries.append(record := self.note(txn, asked_ns))
            for key in keys:
                old = await self.read(txn, record, key) or b""
                await txn.put(key, old + tag)

        outcome, code = "ok", ""
        try:
            await client.run(body, self.options())
        except Definite as error:
            outcome, code = "failed", error.code
        except Undetermined as error:
            outcome, code = "unknown", error.code
        if tries:
            self.ended(tries[-1], outcome, code)
        self.appends[tag] = outcome

    # -- the end -----------------------------------------------------------------------------

    async def sweep(self) -> None:
        for client in self.clients:
            await client.access.background.idle()
        last = self.client(100, last=True)
        options = TxnOptions(retries_max=30, limit_s=100.0)

        async def touch(txn: Transaction) -> None:
            self.note(txn, 0)
            for key in (*ACCOUNTS, *LISTS):
                value = await txn.get(key)
                await txn.put(key, value or b"")

        await last.run(touch, options)
        for record in self.records:
            if record.outcome == "open":
                record.outcome = "unknown"
        await last.access.background.idle()
        if self.cluster.locks():
            raise Broken("orphan: locks are left, though all keys were written")

    def judge(self) -> None:
        model = Model(self.cluster.commits)
        self.judge_lists(model)
        for record in self.records:
            self.judge_one(record, model)
        model.sums()
        self.judge_updates(model)
        self.judge_time(model)

    def judge_one(self, record: Record, model: Model) -> None:
        done = model.of(record.start_ts)
        if record.outcome == "failed" and done:
            raise Broken(f"failed-write: {record} left {done}")
        writes = record.txn._standing.mutations
        if record.outcome == "ok" and set(done) != set(writes):
            raise Broken(f"lost-write: {record} left {done} of {list(writes)}")
        if done:
            if set(done) != set(writes):
                raise Broken(f"half: {record} left {done} of {list(writes)}")
            stamps = {commit_ts for commit_ts, _, _ in done.values()}
            told = record.txn.facts.commit_ts if record.outcome == "ok" else 0
            if len(stamps) != 1 or told not in (0, *stamps):
                raise Broken(f"two-commits: {record} left {done}")
        for key, (_, _, value) in done.items():
            wanted = writes[key].value if writes[key].kind is MutationKind.PUT else None
            if value != wanted:
                raise Broken(f"wrong-value: {record} left {done}")
        for key, ts, value in record.reads:
            if value != model.read(key, ts):
                raise Broken(f"read: {key!r} at {ts}: {value!r}, not {model.read(key, ts)!r}")

    def judge_lists(self, model: Model) -> None:
        whole = b"".join(model.read(key, 1 << 64) or b"" for key in LISTS)
        for tag, outcome in self.appends.items():
            times = [(model.read(key, 1 << 64) or b"").count(tag) for key in LISTS]
            if max(times) > 1:
                raise Broken(f"twice: {tag!r} ({outcome}) in {whole!r}")
            if outcome == "ok" and not max(times):
                raise Broken(f"lost-append: {tag!r} in {whole!r}")
            if outcome == "failed" and max(times):
                raise Broken(f"failed-append: {tag!r} in {whole!r}")

    def judge_updates(self, model: Model) -> None:
        writers: dict[bytes, list[tuple[int, int]]] = {}
        for record in self.records:
            locked = record.txn.facts.for_update_ts
            for key, (commit_ts, _, _) in model.of(record.start_ts).items():
                began = locked.get(key, record.start_ts)
                writers.setdefault(key, []).append((commit_ts, began))
        for key, found in writers.items():
            for (earlier, _), (commit_ts, began) in pairwise(sorted(found)):
                if began < earlier:
                    raise Broken(f"lost-update: {key!r} {began}..{commit_ts} over {earlier}")

    def judge_time(self, model: Model) -> None:
        for one in self.records:
            stamps = [commit_ts for commit_ts, _, _ in model.of(one.start_ts).values()]
            if one.outcome != "ok" or not stamps:
                continue
            for other in self.records:
                if one.ended_ns < other.began_ns and other.start_ts < max(stamps):
                    raise Broken(f"real-time: {other} does not see {one}")


class Model:
    """Every version there ever was."""

    def __init__(self, commits: Any) -> None:
        self.commits = commits

    def read(self, key: bytes, ts: int) -> bytes | None:
        versions = [
            (commit_ts, value)
            for (name, commit_ts), (_, kind, value) in self.commits.items()
            if name == key and kind is not WriteKind.LOCK and commit_ts <= ts
        ]
        return max(versions)[1] if versions else None

    def of(self, start_ts: int) -> dict[bytes, tuple[int, WriteKind, bytes | None]]:
        return {
            key: (commit_ts, kind, value)
            for (key, commit_ts), (owner, kind, value) in self.commits.items()
            if owner == start_ts
        }

    def sums(self) -> None:
        for ts in sorted({commit_ts for _, commit_ts in self.commits}):
            total = sum(int(self.read(key, ts) or b"0") for key in ACCOUNTS)
            if total != EACH * len(ACCOUNTS):
                raise Broken(f"total: {total} at {ts}")


def run(seed: int, plan: Plan = Plan()) -> Bank:  # noqa: B008 - a tuple
    banks: list[Bank] = []

    async def main() -> None:
        banks.append(Bank(seed, plan))
        await banks[0].run()

    try:
        SimLoop(horizon_ns=300 * 10**9).run(main)
    except Broken as broken:
        broken.probed = sum(client.probes.get("bug", 0) for client in banks[0].clients)
        raise
    return banks[0]
