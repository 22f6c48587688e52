"""How a client of regions behaves: every choice is an option, so that tests can compare them."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from splitbrain.cluster.client.backoff import Policy
from splitbrain.errors import RequestError

__all__ = ["ClientOptions", "CommitPath", "ReadFrom", "TxnIsolation", "TxnOptions"]

ReadFrom = Literal["leader", "follower", "closest", "stale", "eventual"]
"""Which replica serves reads.

    leader    linearizable, by the leader
    follower  linearizable, by any other replica, which asks the leader for its read index
    closest   as follower, by the replica with the most of our labels
    stale     any replica: of the version asked for, once that is known to be complete there
    eventual  any replica, whatever it has
"""

CommitPath = Literal["plain", "parallel", "async", "one-phase"]
"""How a transaction commits.

    plain      two phases, one key after another, secondaries before the answer
    parallel   two phases, regions at once, secondaries after the answer
    async      committed once all keys are prewritten; else parallel
    one-phase  one request commits, if all keys are of one region; else parallel
"""

TxnIsolation = Literal["snapshot", "read-committed", "serializable"]


class ClientOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of a whole client.

    Attributes:
        op_timeout_s: deadline of one operation (get, scan, commit ...).
        rpc_timeout_s: longest wait for one answer; None: a quarter of op_timeout_s.
        pd_timeout_s: the same for PD.
        budget_s: time that one operation may sleep.
        backoff: see ``backoff``.
        breaker_failures: so many in a row open a store's circuit breaker ...
        breaker_cooldown_s: ... for so long.
        labels: where the client stands, for ``closest``.
        trust_refusals: False against a TiKV that is not ours; see ``outcome``.
        region_idle_s: what a region cache forgets.
    """

    op_timeout_s: float = 2.0
    rpc_timeout_s: float | None = None
    pd_timeout_s: float = 0.5
    budget_s: float = 20.0
    backoff: Policy = Policy()
    breaker_failures: int = 5
    breaker_cooldown_s: float = 0.3
    labels: tuple[tuple[str, str], ...] = ()
    trust_refusals: bool = True
    region_idle_s: float = 600.0


class TxnOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of one transaction.

    Attributes:
        pessimistic: lock keys as they are written (or asked for), instead of at the commit.
        isolation: ``snapshot``: as of the start; ``read-committed``: as of each read;
            ``serializable``: snapshot, and no key read may have been written since by the commit.
            Keys that a scan did NOT return are not watched.
        commit_path: see there.
        lock_ttl_ms: how long others respect the locks of a client that has gone silent.
        heartbeat_s: how often a long transaction prolongs that; None: half of it.
        limit_s: an older transaction is rolled back instead of committed.
        on_conflict: ``retry``: ``TxnClient.run`` begins anew after a write conflict; ``fail``: not.
        retries_max: at most so often.
        read_from: see there; of snapshot reads.
        wait_ms: how long a store may let a pessimistic lock wait; < 0: not at all, 0: its default.
        batch_bytes: largest request of a commit, in bytes of keys and values.
    """

    pessimistic: bool = False
    isolation: TxnIsolation = "snapshot"
    commit_path: CommitPath = "parallel"
    lock_ttl_ms: int = 3000
    heartbeat_s: float | None = None
    limit_s: float = 30.0
    on_conflict: Literal["retry", "fail"] = "retry"
    retries_max: int = 8
    read_from: ReadFrom = "leader"
    wait_ms: int = 0
    batch_bytes: int = 16 * 1024

    def __post_init__(self) -> None:
        for name, known in (
            ("isolation", TxnIsolation),
            ("commit_path", CommitPath),
            ("read_from", ReadFrom),
        ):
            if getattr(self, name) not in get_args(known):
                names = ", ".join(get_args(known))
                raise RequestError(f"{name}={getattr(self, name)!r}; known: {names}")
        if self.lock_ttl_ms < 1:
            raise RequestError(f"lock_ttl_ms={self.lock_ttl_ms}; give 1 or more")
