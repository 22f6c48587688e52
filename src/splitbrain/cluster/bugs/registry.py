"""All seeded bugs by name, and the classes that a choice of them makes.

>>> raft_class(()).__name__, raft_class(("local-leader-read",)).__name__
('Raft', 'LocalLeaderRead')
>>> sorted(BUGS)[:3]
['ack-on-append', 'append-no-fsync', 'commit-old-term']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar

from splitbrain.cluster.bugs.client_bugs import CLIENT_BUGS, ClientBug
from splitbrain.cluster.bugs.raft_bugs import RAFT_BUGS, RaftBug
from splitbrain.cluster.bugs.store_bugs import STORE_BUGS, StoreBug
from splitbrain.cluster.client.raw import RawClient
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.store.peer import Peer
from splitbrain.errors import UnknownName

__all__ = ["BUGS", "client_class", "peer_class", "raft_class"]

BugClass: TypeAlias = type[RaftBug] | type[StoreBug] | type[ClientBug]
C = TypeVar("C")

BUGS: Mapping[str, BugClass] = {**RAFT_BUGS, **STORE_BUGS, **CLIENT_BUGS}
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


def _join(correct: type[C], known: Mapping[str, type[C]], bugs: Sequence[str]) -> type[C]:
    for name in bugs:
        if name not in BUGS:
            raise UnknownName("bug", name, BUGS)
    chosen = [known[name] for name in dict.fromkeys(bugs) if name in known]
    if len(chosen) <= 1:
        return chosen[0] if chosen else correct
    return type("And".join(one.__name__ for one in chosen), tuple(chosen), {})
