"""Changes of membership in few steps: joint configurations, and what overlapping changes would do."""

from __future__ import annotations

import random

import pytest

from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import (
    ConfChange,
    ConfChangeKind,
    Message,
    MessageKind,
    RaftConfig,
    Restored,
    Role,
    Snapshot,
    SnapshotMeta,
)

VOTER, LEARNER, REMOVE = (
    ConfChangeKind.ADD_VOTER,
    ConfChangeKind.ADD_LEARNER,
    ConfChangeKind.REMOVE,
)


class ConfOverlap(Raft):
    """R18: a second change may be proposed before the first is applied."""

    __slots__ = ()

    def _conf_overlaps(self) -> bool:
        return False


class Group:
    """Cores whose disks are instant; ``deliver`` carries messages between those named."""

    def __init__(self, names: str, voters: str, core: type[Raft] = Raft) -> None:
        self.applied: dict[str, dict[int, int]] = {}
        self.cores: dict[str, Raft] = {}
        self.waiting: list[object] = []
        for name in names:
            config = RaftConfig(node=name, voters=tuple(voters), heartbeat_ticks=1)
            self.cores[name] = core(config, Restored(), random.Random(name))
            self.applied[name] = {}

    def work(self, name: str) -> None:
        raft = self.cores[name]
        while raft.has_ready():
            ready = raft.ready()
            if ready.snapshot is not None:
                raft.applied(ready.snapshot.meta.index)
            self.waiting += [*ready.messages, *ready.after_persist]
            raft.persisted(ready.number)
            if ready.committed:
                self.applied[name] |= {one.index: one.term for one in ready.committed}
                raft.applied(ready.committed[-1].index)

    def deliver(self, names: str, *, rounds: int = 20) -> None:
        """Messages among ``names``; all others are lost."""
        for _ in range(rounds):
            for name in names:
                self.work(name)
            waiting, self.waiting = self.waiting, []
            for message in waiting:
                if message.sender in names and message.to in names:
                    self.cores[message.to].step(message, 0)
                    self.work(message.to)

    def lead(self, name: str, names: str) -> Raft:
        raft = self.cores[name]
        for other in names:
            for _ in range(40):
                if other != name:
                    self.cores[other].election_elapsed = 0
                    self.cores[other].tick(0)
        raft.campaign()
        self.deliver(names)
        assert raft.role is Role.LEADER
        return raft

    def beat(self, name: str, names: str) -> None:
        self.cores[name].tick(0)
        self.deliver(names)


def joint_group() -> tuple[Group, Raft]:
    """a, b, c; c is being exchanged for d and e; d and e have the state."""
    group = Group("abcde", "abc")
    raft = group.lead("a", "abc")
    raft.compact(1, Snapshot(raft.applied_meta(), b""))
    for name in "de":
        assert raft.propose_conf(ConfChange(LEARNER, name))
        group.deliver("abc")
        raft.compact(raft.applied_index, Snapshot(raft.applied_meta(), b""))
        group.beat("a", "abcde")
        group.beat("a", "abcde")
    assert group.cores["e"].learners == ("d", "e")
    place = raft.propose_conf(
        ConfChange(VOTER, "d"), ConfChange(VOTER, "e"), ConfChange(LEARNER, "c"), joint=True
    )
    assert place is not None
    group.deliver("abcde")
    assert (raft.voters, raft.outgoing) == (("a", "b", "d", "e"), ("a", "b", "c"))
    assert raft.learners == ()
    return group, raft


@pytest.mark.parametrize(
    ("reached", "commits"),
    [
        ("abc", False),  # a majority of the old half alone
        ("ade", False),  # of the new half alone
        ("abd", True),
        ("acde", True),
    ],
)
def test_a_joint_configuration_commits_and_elects_by_both_halves(reached, commits):
    group, raft = joint_group()
    index, _ = raft.propose(b"x")
    group.deliver(reached)
    assert (raft.commit >= index) is commits
    raft._become_follower(raft.term, "")
    for name in reached:
        group.cores[name].quiet_ticks = 1000
    group.cores[reached[-1]].campaign()
    group.deliver(reached)
    assert (group.cores[reached[-1]].role is Role.LEADER) is commits


def test_reads_and_contact_need_both_halves():
    group, raft = joint_group()
    raft.read_index(b"r", 0)
    group.deliver("ade")
    assert raft.has_ready() is False
    assert raft._pending_reads
    for _ in range(2 * raft.config.election_ticks):
        group.beat("a", "ade")
    assert raft.role is Role.FOLLOWER


def test_leaving_makes_demoted_voters_learners_and_one_change_waits_for_another():
    group, raft = joint_group()
    assert raft.propose_conf(ConfChange(REMOVE, "b")) is None  # joint: only leaving
    assert raft.propose_conf(joint=True) is not None
    assert raft.propose_conf(ConfChange(REMOVE, "c")) is None  # not applied yet
    group.deliver("abcde")
    for core in group.cores.values():
        assert (core.voters, core.outgoing, core.learners) == (("a", "b", "d", "e"), (), ("c",))
    assert raft.propose_conf(joint=True) is None  # nothing to leave
    assert raft.propose_conf(ConfChange(REMOVE, "c")) is not None
    group.deliver("abcde")
    assert raft.learners == ()


def test_what_does_not_fit_is_refused():
    group = Group("abc", "abc")
    raft = group.lead("a", "abc")
    refused = [
        ((ConfChange(REMOVE, "a"),), False),
        ((ConfChange(LEARNER, "a"),), False),
        ((ConfChange(VOTER, "d"), ConfChange(VOTER, "e")), False),
        ((ConfChange(REMOVE, "b"), ConfChange(VOTER, "d")), True),  # demote first
        ((ConfChange(VOTER, "d"), ConfChange(LEARNER, "d")), True),
        (tuple(ConfChange(LEARNER, name) for name in "abc"), True),
        ((), True),
    ]
    for changes, joint in refused:
        assert raft.propose_conf(*changes, joint=joint) is None, changes
    assert raft.propose_conf(ConfChange(VOTER, "d"), ConfChange(LEARNER, "a"), joint=True)
    group.deliver("abc")
    assert raft.propose_conf(joint=True) is None  # it would leave itself a learner


def test_a_refused_change_does_nothing():
    group = Group("abc", "abc")
    raft = group.lead("a", "abc")
    index, _ = raft.propose_conf(ConfChange(REMOVE, "c"))
    raft.ready()
    raft.persisted(raft._number)
    raft.progress["b"].match = index
    raft._advance_commit()
    assert [entry.index for entry in raft.ready().committed] == [index]
    raft.refuse_conf(index)
    raft.applied(index)
    assert raft.voters == ("a", "b", "c")


@pytest.mark.parametrize("core", [Raft, ConfOverlap])
def test_overlapping_changes_make_disjoint_majorities(core):
    """Two voters are added back to back; of the old voters only b hears of it, and no commit."""
    group = Group("abcde", "abc", core)
    raft = group.lead("a", "abc")
    first = raft.propose_conf(ConfChange(VOTER, "d"))
    second = raft.propose_conf(ConfChange(VOTER, "e"))
    assert first is not None
    assert (second is not None) is (core is ConfOverlap)
    group.deliver("ab", rounds=2)  # b has the entries and its acknowledgement has come
    group.waiting.clear()
    if core is Raft:
        assert raft.voters == ("a", "b", "c", "d")
        raft.propose_conf(ConfChange(VOTER, "e"))
    group.beat("a", "ade")
    group.beat("a", "ade")
    raft.propose(b"x")
    group.deliver("ade")
    for name in "bc":
        group.cores[name].quiet_ticks = 1000
    group.cores["b"].campaign()
    group.deliver("bc")
    one, other = group.applied["a"], group.applied["b"]
    torn = [index for index in one if index in other and one[index] != other[index]]
    assert bool(torn) is (core is ConfOverlap)


class StaleSnapshot(Raft):
    """R21: takes any snapshot, however old."""

    __slots__ = ()

    def _wants_snapshot(self, meta: SnapshotMeta) -> bool:
        return True

    def _log_has(self, meta: SnapshotMeta) -> bool:
        return False


@pytest.mark.parametrize("core", [Raft, StaleSnapshot])
def test_a_snapshot_that_comes_late_takes_nothing_back(core):
    group = Group("abc", "abc", core)
    raft = group.lead("a", "abc")
    old = Snapshot(raft.applied_meta(), b"")
    for _ in range(5):
        raft.propose(b"x")
    group.deliver("abc")
    other = group.cores["b"]
    before = other.commit, other.last_index
    assert before[0] > old.meta.index
    late = Message(MessageKind.SNAPSHOT, "a", "b", raft.term, snapshot=old)
    if core is Raft:
        other.step(late, 0)
        assert (other.commit, other.last_index) == before
    else:
        other.step(late, 0)
        assert other.last_index == old.meta.index < before[0]
