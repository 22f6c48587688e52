"""What each refusal asks for: which replica is asked next, what is believed then, what is waited."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from splitbrain.cluster import messages as m
from splitbrain.cluster.client.backoff import OutOfPatience
from splitbrain.cluster.client.sender import Doubt
from splitbrain.cluster.messages.pd import GetRegion
from splitbrain.cluster.messages.region import Epoch, Peer, Region
from splitbrain.cluster.messages.txn import Commit, CommitReply, Get, GetReply
from splitbrain.cluster.mvcc.codec import encode_key
from splitbrain.errors import Definite

from .scripted import LEFT, PEERS, Scripted, client, in_turn

OK = GetReply(b"v")
GET = Get(b"a", 5)
COMMIT = Commit((b"a",), 5, 6)


def no(error: Any) -> GetReply:
    return GetReply(region_error=error)


def ask(
    network: Scripted, request: Any = GET, doubt: Doubt | None = None, **options: Any
) -> Any:
    async def main() -> Any:
        chosen = {"read_from": options.pop("read_from")} if "read_from" in options else {}
        access = client(network, **options).access
        return await access.ask(b"a", request, access.patience(), doubt=doubt, **chosen)

    return asyncio.run(main())


NEWER = Region(1, b"", encode_key(b"b"), Epoch(1, 3), PEERS)
CASES = {
    "told leader": (m.NotLeader("n3"), ["n1", "n3"], False, False),
    "no leader told": (m.NotLeader(), ["n1", "n2"], True, False),
    "it names itself": (m.NotLeader("n1"), ["n1", "n2"], True, False),
    "newer region": (m.EpochNotMatch(regions=(NEWER,)), ["n1", "n1"], False, False),
    "no region told": (m.EpochNotMatch(), ["n1", "n1"], True, True),
    "we know a newer one": (
        m.EpochNotMatch(regions=(Region(1, b"", b"", Epoch(1, 1), PEERS),)),
        ["n1", "n1"],
        True,
        False,
    ),
    "not here": (m.RegionNotFound(1), ["n1", "n1"], True, True),
    "not its key": (m.KeyNotInRegion(), ["n1", "n1"], True, True),
    "not its peer": (m.PeerNotMatch(), ["n1", "n1"], True, True),
    "not its store": (m.StoreNotMatch(), ["n1", "n1"], True, True),
    "term over": (m.StaleCommand(), ["n1", "n1"], False, False),
    "busy": (m.ServerIsBusy(), ["n1", "n1"], True, False),
    "no max ts": (m.MaxTimestampNotSynced(), ["n1", "n1"], True, False),
    "no snapshot": (m.RegionNotInitialized(), ["n1", "n1"], True, False),
    "no index": (m.ReadIndexNotReady(), ["n1", "n1"], True, False),
    "no data": (m.DataIsNotReady(), ["n1", "n1"], False, False),
    "fate unknown": (m.UndeterminedResult(), ["n1", "n1"], True, False),
    "a word not known": (m.OtherError("?"), ["n1", "n1"], True, False),
    "refused": (ConnectionError(), ["n1", "n2"], False, False),
    "lost": (EOFError(), ["n1", "n2"], False, False),
    "silent": (TimeoutError(), ["n1", "n2"], False, False),
}


@pytest.mark.parametrize("case", CASES)
def test_reactions(case: str) -> None:
    error, nodes, waits, looks_up = CASES[case]
    answer = error if isinstance(error, Exception) else no(error)
    network = Scripted(in_turn(answer, OK))
    assert ask(network) is OK
    assert network.nodes == nodes
    assert bool(network.slept) is waits
    look_ups = [one for one in network.asked if isinstance(one, GetRegion)]
    assert len(look_ups) == 1 + looks_up


def test_every_region_error_has_a_reaction() -> None:
    tried = {type(case[0]) for case in CASES.values()} | {m.EntryTooLarge, m.MismatchMode}
    assert tried >= set(m.RegionError.__args__)


def test_what_a_newer_region_tells_is_believed() -> None:
    network = Scripted(in_turn(no(m.EpochNotMatch(regions=(NEWER,))), OK))
    ask(network)
    context = network.sent[1][1].context
    assert (context.region_id, context.version, context.store_id, context.peer_id) == (
        1,
        3,
        1,
        11,
    )


@pytest.mark.parametrize("error", [m.EntryTooLarge(), m.MismatchMode("raw")])
def test_what_no_retry_helps_is_told_at_once(error: Any) -> None:
    network = Scripted(in_turn(CommitReply(region_error=error)))
    with pytest.raises(Definite):
        ask(network, COMMIT)
    assert len(network.sent) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (TimeoutError(), "timeout"),
        (EOFError(), "connection-lost"),
        (CommitReply(region_error=m.UndeterminedResult()), "undetermined-result"),
        (CommitReply(region_error=m.OtherError()), "other-error"),
        (ConnectionError(), ""),
        (CommitReply(region_error=m.NotLeader()), ""),
        (CommitReply(region_error=m.StaleCommand()), ""),
        (CommitReply(region_error=m.RegionNotFound()), ""),
        (CommitReply(region_error=m.ServerIsBusy()), ""),
    ],
)
def test_doubt(answer: Any, code: str) -> None:
    doubt = Doubt()
    with pytest.raises(OutOfPatience):
        ask(Scripted(in_turn(answer)), COMMIT, doubt)
    assert doubt.code == code
    assert doubt.sent is not isinstance(answer, ConnectionError)
    ask(Scripted(in_turn(answer, CommitReply(6))), COMMIT, doubt := Doubt())
    assert (doubt.code, doubt.ever) == ("", bool(code))


def test_another_tikv_is_not_trusted_when_it_says_stale_command() -> None:
    doubt = Doubt()
    stale = CommitReply(region_error=m.StaleCommand())
    network = Scripted(in_turn(stale, CommitReply(region_error=m.ServerIsBusy())))
    with pytest.raises(OutOfPatience):
        ask(network, COMMIT, doubt, trust_refusals=False)
    assert doubt.code == "stale-command"


def test_a_request_sent_again_after_doubt_says_so() -> None:
    network = Scripted(in_turn(TimeoutError(), CommitReply(6)))
    ask(network, COMMIT)
    assert [request.context.is_retry for _, request in network.sent] == [False, True]


@pytest.mark.parametrize(
    ("read_from", "labels", "first"),
    [
        ("leader", (), {"n1"}),
        ("follower", (), {"n2", "n3"}),
        ("closest", (("dc", "n3"),), {"n3"}),
    ],
)
def test_reads_go_where_they_are_wanted(read_from: str, labels: Any, first: set[str]) -> None:
    network = Scripted(in_turn(OK))
    ask(network, read_from=read_from, labels=labels)
    assert set(network.nodes) <= first


def test_a_follower_that_is_behind_sends_the_reader_to_the_leader() -> None:
    network = Scripted(in_turn(no(m.DataIsNotReady()), OK))
    ask(network, read_from="stale")
    assert network.nodes[1] == "n1"
    assert network.slept == []


def test_a_follower_that_does_not_serve_reads_sends_the_reader_to_the_leader() -> None:
    def script(node: str, request: Any) -> Any:
        return OK if node == "n1" else no(m.NotLeader("n1"))

    network = Scripted(script)
    ask(network, read_from="follower")
    assert len(network.nodes) == 2
    assert network.nodes[1] == "n1"


def test_stores_that_name_each_other_are_not_asked_in_a_tight_loop() -> None:
    hints = {"n1": "n2", "n2": "n1", "n3": "n1"}
    network = Scripted(lambda node, _: no(m.NotLeader(hints[node])))
    with pytest.raises(OutOfPatience) as error:
        ask(network)
    assert error.value.code == "no-leader"
    assert len(network.sent) < 300


def test_regions_that_move_for_ever_are_not_asked_in_a_tight_loop() -> None:
    network = Scripted(in_turn(no(m.EpochNotMatch(regions=(LEFT,)))))
    with pytest.raises(OutOfPatience):
        ask(network)
    assert len(network.sent) < 100


def test_a_silent_store_is_left_alone_and_comes_back() -> None:
    """Its breaker opens after three silences; others are asked; later it gets one probe."""
    network = Scripted(lambda node, _: TimeoutError() if node == "n1" else OK)

    async def main() -> None:
        access = client(network, breaker_failures=3, rpc_timeout_s=0.05).access
        for _ in range(6):
            network.sent.append(("--", None))
            place = await access.locate(b"a", access.patience())
            access.cache.leader_is(place, PEERS[0])
            await access.ask(b"a", GET, access.patience())
        assert access.breakers.opened == 1
        assert network.nodes.count("n1") == 3
        network.now += 10**9
        place = await access.locate(b"a", access.patience())
        access.cache.leader_is(place, Peer(11, 1))
        network.script = in_turn(OK)
        await access.ask(b"a", GET, access.patience())
        assert network.nodes[-1] == "n1"
        assert access.breakers.passes(1, network.now)

    asyncio.run(main())
