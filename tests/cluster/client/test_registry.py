"""Bugs by name: which class is made, and what every one of them must say of itself."""

from __future__ import annotations

import doctest

import pytest

from splitbrain.cluster.bugs import registry
from splitbrain.cluster.bugs.registry import BUGS, client_class, peer_class, raft_class
from splitbrain.cluster.client.raw import RawClient
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import RaftConfig, Restored
from splitbrain.cluster.store.peer import Peer
from splitbrain.env.random import Random
from splitbrain.errors import UnknownName


def test_all_are_there():
    ids = {bug.id for bug in BUGS.values()}
    assert ids == {"R01", "R03", "R04", "R07", "R08", "R10", "R12", "R16", "R25", "R27", "C01"}
    assert all(name == bug.name and bug.__doc__ and bug.anomalies for name, bug in BUGS.items())


def test_no_bugs_are_the_correct_classes():
    assert (raft_class(()), peer_class(()), client_class(())) == (Raft, Peer, RawClient)


def test_a_bug_changes_its_own_class_alone():
    for name in BUGS:
        changed = [
            cls is not correct
            for cls, correct in (
                (raft_class((name,)), Raft),
                (peer_class((name,)), Peer),
                (client_class((name,)), RawClient),
            )
        ]
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
