"""Bugs by name: which class is made, and what every one of them must say of itself."""

from __future__ import annotations

import doctest

import pytest

from splitbrain.cluster.bugs import registry
from splitbrain.cluster.bugs.pd_bugs import pd_class, tso_class
from splitbrain.cluster.bugs.registry import (
    BUGS,
    client_class,
    committer_class,
    mvcc_class,
    peer_class,
    raft_class,
    resolver_class,
    txn_client_class,
)
from splitbrain.cluster.client.committer import Committer
from splitbrain.cluster.client.raw import RawClient
from splitbrain.cluster.client.resolver import Resolver
from splitbrain.cluster.client.txn import TxnClient
from splitbrain.cluster.mvcc.service import Mvcc
from splitbrain.cluster.pd.node import PdNode
from splitbrain.cluster.pd.tso import Tso
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import RaftConfig, Restored
from splitbrain.cluster.store.peer import Peer
from splitbrain.env.random import Random
from splitbrain.errors import UnknownName

MADE = {
    raft_class: Raft,
    peer_class: Peer,
    client_class: RawClient,
    mvcc_class: Mvcc,
    pd_class: PdNode,
    tso_class: Tso,
    committer_class: Committer,
    resolver_class: Resolver,
    txn_client_class: TxnClient,
}


def test_all_are_there():
    raft = {"R01", "R03", "R04", "R07", "R08", "R10", "R12", "R16", "R25", "R27"}
    rules = {"P01", "P02", "P04", "P07", "P10", "P12", "P13", "P24", "P30"}
    clients = {"C01", "C02", "P06", "P09", "P11", "P14", "P31"}
    assert {bug.id for bug in BUGS.values()} == raft | rules | clients | {"T01", "T03", "T05"}
    assert all(name == bug.name and bug.__doc__ and bug.anomalies for name, bug in BUGS.items())


def test_no_bugs_are_the_correct_classes():
    assert all(make(()) is correct for make, correct in MADE.items())


def test_a_bug_changes_its_own_class_alone():
    for name in BUGS:
        changed = [make((name,)) is not correct for make, correct in MADE.items()]
        assert changed.count(True) == 1, name


def test_several_bugs_of_one_class_are_joined():
    both = raft_class(("ack-on-append", "append-no-fsync", "vote-not-durable"))
    raft = both(RaftConfig(node="a", voters=("a", "b")), Restored(), Random(1).stream("x"))
    assert raft.acked_early(1)
    assert not raft._needs_sync(entries=True, vote=False, snapshot=False)


def test_an_unknown_bug_gets_the_nearest_names():
    with pytest.raises(UnknownName, match="local-leader-read"):
        peer_class(("local-leader-reads",))


def test_examples_in_docstrings():
    assert doctest.testmod(registry).failed == 0
