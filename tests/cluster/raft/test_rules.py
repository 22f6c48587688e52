"""Small rules against twins that spell them out: votes, quorums, flow, lease, configuration."""

from __future__ import annotations

import itertools
import random

import pytest

from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.progress import Flow, Progress
from splitbrain.cluster.raft.types import (
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    RaftConfig,
    Restored,
    Snapshot,
)


def raft_of(
    *terms: int, term: int = 0, vote: str = "", voters: str = "abc", **options: object
) -> Raft:
    """Node a of a group, with a log of these terms."""
    log = tuple(Entry(i, t, EntryKind.NORMAL) for i, t in enumerate(terms, 1))
    config = RaftConfig(
        node="a", voters=tuple(voters), election_ticks=10, heartbeat_ticks=3, **options
    )  # type: ignore[arg-type]
    return Raft(
        config, Restored(hard_state=HardState(term, vote), entries=log), random.Random(1)
    )


def answers(raft: Raft) -> list[Message]:
    ready = raft.ready()
    return [*ready.messages, *ready.after_persist]


def expected_vote(
    *,
    pre: bool,
    term: int,
    own_term: int,
    vote: str,
    leader: str,
    quiet: int,
    transfer: bool,
    log: tuple[int, int],
    own_log: tuple[int, int],
) -> str:
    """``drop``, ``no`` or ``yes`` for a request of node b, in so many words."""
    heard = quiet < 10 and not transfer
    if term < own_term:
        return "no" if pre else "drop"
    if term > own_term:
        if heard:
            return "drop"
        if not pre:
            vote, leader = "", ""
        may = True
    else:
        may = (vote == "b" or (vote == "" and leader == "")) and not heard
    own_last_term, own_last = own_log
    last_term, last = log
    good = last_term > own_last_term or (last_term == own_last_term and last >= own_last)
    return "yes" if may and good else "no"


def test_who_gets_a_vote() -> None:
    cases = itertools.product(
        (False, True),
        (2, 3, 4),
        ("", "b", "c"),
        ("", "b", "c"),
        (0, 9, 10),
        (False, True),
        ((1, 5), (2, 1), (2, 2), (2, 3), (3, 1)),
    )
    seen = {"yes": 0, "no": 0, "drop": 0}
    for pre, term, vote, leader, quiet, transfer, (last_term, last) in cases:
        raft = raft_of(1, 2, term=3, vote=vote)
        raft.leader, raft.quiet_ticks = leader, quiet
        raft.ready()
        kind = MessageKind.PRE_VOTE if pre else MessageKind.VOTE
        raft.step(
            Message(
                kind, "b", "a", term, log_index=last, log_term=last_term, transfer=transfer
            ),
            0,
        )
        expected = expected_vote(
            pre=pre,
            term=term,
            own_term=3,
            vote=vote,
            leader=leader,
            quiet=quiet,
            transfer=transfer,
            log=(last_term, last),
            own_log=(2, 2),
        )
        sent = raft.ready()
        replies = [*sent.messages, *sent.after_persist]
        got = "drop" if not replies else "no" if replies[0].reject else "yes"
        assert got == expected, (pre, term, vote, leader, quiet, transfer, last_term, last)
        seen[got] += 1
        if got == "yes":
            assert replies[0].term == term
            if pre:
                assert (raft.term, raft.vote) == (3, vote)
            else:
                assert (raft.term, raft.vote) == (term, "b")
                assert replies == list(sent.after_persist), "a vote must be durable first"
                assert sent.must_sync or vote == "b"
        elif got == "no":
            assert replies[0].term == raft.term
    assert min(seen.values()) > 50, seen


def elect(raft: Raft) -> None:
    """Make node a the leader, with all its writes done."""
    raft.quiet_ticks = 99
    assert raft.campaign()
    for _ in range(3):
        ready = raft.ready()
        raft.persisted(ready.number)
        for message in (*ready.messages, *ready.after_persist):
            if message.kind in (MessageKind.PRE_VOTE, MessageKind.VOTE):
                reply = MessageKind(message.kind + 1)
                raft.step(Message(reply, message.to, "a", message.term), 0)
    raft.persisted(raft.ready().number)
    assert raft.role == "leader"


def test_commit_is_the_index_that_a_majority_holds() -> None:
    draw = random.Random(3)
    for _ in range(200):
        voters = "abcdefg"[: draw.randrange(2, 8)]
        raft = raft_of(term=1, voters=voters, learners=("x", "y"))
        elect(raft)
        for _ in range(6):
            raft.propose(b"")
        matches = {"a": 1}
        for peer in [*voters[1:], "x", "y"]:
            matches[peer] = draw.randrange(8)
            raft.step(
                Message(
                    MessageKind.APPEND_REPLY, peer, "a", raft.term, log_index=matches[peer]
                ),
                0,
            )
        holders = [matches[name] for name in voters]
        best = max(
            index for index in range(8) if sum(h >= index for h in holders) > len(voters) / 2
        )
        assert raft.commit == best


def test_any_two_majorities_meet() -> None:
    raft = raft_of()
    for size in range(1, 8):
        quorum = raft._quorum("vote", size)
        assert 2 * quorum > size >= quorum
        assert 2 * (quorum - 1) <= size


def test_a_leader_counts_itself_only_when_durable() -> None:
    raft = raft_of(term=1)
    elect(raft)
    raft.step(Message(MessageKind.APPEND_REPLY, "b", "a", raft.term, log_index=1), 0)
    index, _ = raft.propose(b"x") or (0, 0)
    ready = raft.ready()
    raft.step(Message(MessageKind.APPEND_REPLY, "b", "a", raft.term, log_index=index), 0)
    assert raft.commit < index
    raft.persisted(ready.number)
    assert raft.commit == index


def test_an_answer_of_somebody_outside_does_not_count() -> None:
    raft = raft_of(term=1)
    elect(raft)
    for kind in (MessageKind.APPEND_REPLY, MessageKind.HEARTBEAT_REPLY):
        raft.step(Message(kind, "z", "a", raft.term, log_index=1), 0)
    assert raft.commit == 0
    other = raft_of()
    other.campaign()
    other.step(Message(MessageKind.PRE_VOTE_REPLY, "z", "a", 1), 0)
    assert other.role == "pre_candidate"


def test_a_refusal_in_replicate_at_or_below_match_is_old() -> None:
    progress = Progress(9)
    progress.acknowledged(5)
    progress.replicate()
    progress.sent(3, 256)
    assert not progress.refused(5, 2)
    assert progress.refused(6, 2)
    assert progress.next == 6


def test_in_probe_only_the_one_append_in_flight_can_be_refused() -> None:
    progress = Progress(9)
    assert not progress.refused(5, 2)
    assert progress.refused(8, 4)
    assert (progress.next, progress.flow) == (5, Flow.PROBE)
    assert progress.refused(4, 7)
    assert progress.next == 4


def test_proposals_are_refused_before_they_are_appended() -> None:
    raft = raft_of()
    assert raft.propose(b"x") is None
    raft = raft_of(term=1, max_uncommitted=2)
    elect(raft)
    assert raft.propose(b"x") == (2, raft.term)
    assert raft.propose(b"y") is None
    assert raft.last_index == 2


def test_an_appended_entry_is_never_acknowledged_early() -> None:
    raft = raft_of(term=1)
    elect(raft)
    index, _ = raft.propose(b"x") or (0, 0)
    assert not raft.acked_early(index)


def test_compaction_refuses_what_is_not_applied() -> None:
    raft = raft_of(1, 1)
    meta = raft.applied_meta()
    with pytest.raises(ValueError, match="need index <= snapshot <= applied"):
        raft.compact(1, Snapshot(meta, b""))


def test_a_log_that_lost_committed_entries_is_noticed_at_the_start() -> None:
    with pytest.raises(Exception, match="commit-beyond-last"):
        Raft(
            RaftConfig(node="a", voters=("a",)),
            Restored(hard_state=HardState(1, "a", 3)),
            random.Random(1),
        )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"heartbeat_ticks": 30}, "heartbeat_ticks 30 must be in"),
        ({"election_timeout_ticks": 29}, "below election_ticks 30"),
        (
            {"assertions_off": frozenset({"nonsense"})},
            "no assertion 'nonsense'; known: applied",
        ),
        ({"lease_reads": True, "lease_ns": 27, "tick_ns": 1}, "shorten the lease"),
        ({"lease_reads": True, "lease_ns": 0, "tick_ns": 1}, "must be positive"),
        ({"lease_reads": True, "check_quorum": False}, "needs check_quorum"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    options: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        RaftConfig(node="a", voters=("a",), **options)  # type: ignore[arg-type]


def test_with_leases_nobody_else_is_elected_for_e_minus_1_ticks_of_time() -> None:
    """However the ticks fall: two may come within a moment, after a pause."""
    raft = raft_of(term=1, lease_reads=True, lease_ns=800, tick_ns=100)
    for tick in range(1, 12):
        raft.tick(tick * 100)
    raft.step(Message(MessageKind.HEARTBEAT, "b", "a", 1), 5_190)
    raft.ready()
    ticks = [5_191, 5_200, *range(5_300, 6_200, 100)]
    vote = Message(MessageKind.VOTE, "c", "a", 2, log_index=9, log_term=1)
    campaigned = granted = 0
    for now_ns in range(5_191, 6_190):
        if now_ns in ticks:
            raft.tick(now_ns)
            campaigned += raft.campaign()
            raft.step(vote, now_ns)
            granted += bool(answers(raft))
        if now_ns < 5_190 + 900:
            assert (raft.term, campaigned, granted) == (1, 0, 0), now_ns
    assert campaigned


def test_timeouts_are_drawn_anew_from_e_to_2e() -> None:
    raft = raft_of()
    drawn = set()
    for _ in range(300):
        raft._reset(raft.term + 1)
        drawn.add(raft.timeout_ticks)
    assert drawn == set(range(10, 20))
