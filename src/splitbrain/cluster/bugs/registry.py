"""All seeded bugs by name, and the classes that a choice of them makes.

>>> raft_class(()).__name__, raft_class(("local-leader-read",)).__name__
('Raft', 'LocalLeaderRead')
>>> sorted(BUGS)[:3]
['ack-before-primary', 'ack-on-append', 'append-no-fsync']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar

from splitbrain.cluster.bugs.client_bugs import CLIENT_BUGS, ClientBug
from splitbrain.cluster.bugs.mvcc_bugs import MVCC_BUGS, MvccBug
from splitbrain.cluster.bugs.pd_bugs import PD_BUGS, PdBug, TsoBug
from splitbrain.cluster.bugs.raft_bugs import RAFT_BUGS, RaftBug
from splitbrain.cluster.bugs.store_bugs import STORE_BUGS, StoreBug
from splitbrain.cluster.bugs.txn_bugs import (
    COMMITTER_BUGS,
    RESOLVER_BUGS,
    TXN_CLIENT_BUGS,
    CommitterBug,
    ResolverBug,
    TxnClientBug,
)
from splitbrain.cluster.client.committer import Committer
from splitbrain.cluster.client.raw import RawClient
from splitbrain.cluster.client.resolver import Resolver
from splitbrain.cluster.client.txn import TxnClient
from splitbrain.cluster.mvcc.service import Mvcc
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.store.peer import Peer
from splitbrain.errors import UnknownName

__all__ = [
    "BUGS",
    "client_class",
    "committer_class",
    "mvcc_class",
    "peer_class",
    "raft_class",
    "resolver_class",
    "txn_client_class",
]

BugClass: TypeAlias = (
    type[RaftBug]
    | type[StoreBug]
    | type[ClientBug]
    | type[MvccBug]
    | type[PdBug]
    | type[TsoBug]
    | type[CommitterBug]
    | type[ResolverBug]
    | type[TxnClientBug]
)
C = TypeVar("C")

BUGS: Mapping[str, BugClass] = {
    **RAFT_BUGS,
    **STORE_BUGS,
    **CLIENT_BUGS,
    **MVCC_BUGS,
    **PD_BUGS,
    **COMMITTER_BUGS,
    **RESOLVER_BUGS,
    **TXN_CLIENT_BUGS,
}
"""Every bug; each class has ``id``, ``name``, ``anomalies``, ``crash`` and a docstring: its story."""


def raft_class(bugs: Sequence[str]) -> type[Raft]:
    """The Raft core with those of ``bugs`` that are its own."""
    return _join(Raft, RAFT_BUGS, bugs)


def peer_class(bugs: Sequence[str]) -> type[Peer]:
    """The store's peer with those of ``bugs`` that are its own."""
    return _join(Peer, STORE_BUGS, bugs)


def client_class(bugs: Sequence[str]) -> type[RawClient]:
    """The client with those of ``bugs`` that are its own."""
    return _join(RawClient, CLIENT_BUGS, bugs)


def mvcc_class(bugs: Sequence[str]) -> type[Mvcc]:
    """The transactions' rules with those of ``bugs`` that are their own."""
    return _join(Mvcc, MVCC_BUGS, bugs)


def committer_class(bugs: Sequence[str]) -> type[Committer]:
    """The transactional client's commit with those of ``bugs`` that are its own."""
    return _join(Committer, COMMITTER_BUGS, bugs)


def resolver_class(bugs: Sequence[str]) -> type[Resolver]:
    """The transactional client's resolver with those of ``bugs`` that are its own."""
    return _join(Resolver, RESOLVER_BUGS, bugs)


def txn_client_class(bugs: Sequence[str]) -> type[TxnClient]:
    """The transactional client with those of ``bugs`` that are its own as a whole."""
    return _join(TxnClient, TXN_CLIENT_BUGS, bugs)


def _join(correct: type[C], known: Mapping[str, type[C]], bugs: Sequence[str]) -> type[C]:
    for name in bugs:
        if name not in BUGS:
            raise UnknownName("bug", name, BUGS)
    chosen = [known[name] for name in dict.fromkeys(bugs) if name in known]
    if len(chosen) <= 1:
        return chosen[0] if chosen else correct
    return type("And".join(one.__name__ for one in chosen), tuple(chosen), {})
