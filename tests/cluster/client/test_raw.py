"""The client's outcomes, one by one, against a scripted network; and where it sends what."""

from __future__ import annotations

import asyncio

import pytest

from splitbrain.cluster import messages as m
from splitbrain.cluster.bugs.registry import client_class
from splitbrain.cluster.client.outcome import Fate, judge
from splitbrain.cluster.client.raw import Options, RawClient
from splitbrain.cluster.client.route import Backoff, Route
from splitbrain.env.random import Random
from splitbrain.errors import Definite, RequestError, Undetermined

NODES = ("n1", "n2", "n3")
SECOND = 1_000_000_000


class Network:
    """Caller and Pacer in one: answers come from ``script(node, request)``, each takes 1 ms."""

    def __init__(self, script):
        self.script = script
        self.now = 0
        self.calls = []
        self.slept = []

    async def call(self, node, request, *, timeout_s):
        self.calls.append((node, request, timeout_s))
        answer = self.script(node, request)
        lost = isinstance(answer, TimeoutError)
        self.now += int(timeout_s * SECOND) if lost else SECOND // 1000
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self):
        self.script = None

    def monotonic_ns(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += int(seconds * SECOND)

    @property
    def nodes(self):
        return [node for node, _, _ in self.calls]


def client(network, *, node="n1", bugs=(), **options):
    make = client_class(bugs)
    stream = Random(1).stream("client")
    return make(network, network, NODES, stream, node=node, options=Options(**options))


def in_turn(*answers):
    """One answer after the other, the last one for ever."""
    left = list(answers)
    return lambda node, request: left.pop(0) if len(left) > 1 else left[0]


READ, WRITE, CAS = m.RawGet(b"k"), m.RawPut(b"k", b"v"), m.RawCas(b"k", b"v", b"w")
RETRIED = {
    "no-leader": m.NotLeader(),
    "stale-command": m.StaleCommand(),
    "busy": m.ServerIsBusy(),
    "store-not-match": m.StoreNotMatch(),
    "peer-not-match": m.PeerNotMatch(),
    "region-not-found": m.RegionNotFound(),
    "epoch-not-match": m.EpochNotMatch(),
    "key-not-in-region": m.KeyNotInRegion(key=b"k"),
    "region-not-initialized": m.RegionNotInitialized(1),
    "max-ts-not-synced": m.MaxTimestampNotSynced(),
    "read-index-not-ready": m.ReadIndexNotReady(1),
    "data-not-ready": m.DataIsNotReady(1),
}
FOR_GOOD = {"too-large": m.EntryTooLarge(), "mismatch-mode": m.MismatchMode("txn")}
UNSURE = {"undetermined-result": m.UndeterminedResult(), "other-error": m.OtherError("?")}
LOST = {"timeout": TimeoutError(), "connection-lost": EOFError()}


def wrap(request, error):
    if isinstance(error, Exception):
        return error
    kind = {m.RawGet: m.RawGetReply, m.RawPut: m.RawPutReply, m.RawCas: m.RawCasReply}
    return kind[type(request)](error=error)


@pytest.mark.parametrize("request_", [READ, WRITE, CAS], ids=["read", "write", "cas"])
@pytest.mark.parametrize(
    ("code", "error", "read", "write"),
    [
        *((code, error, Fate.RETRY, Fate.RETRY) for code, error in RETRIED.items()),
        ("refused", ConnectionError(), Fate.RETRY, Fate.RETRY),
        ("refused", ConnectionRefusedError(), Fate.RETRY, Fate.RETRY),
        *((code, error, Fate.REFUSED, Fate.REFUSED) for code, error in FOR_GOOD.items()),
        *((code, error, Fate.RETRY, Fate.UNKNOWN) for code, error in UNSURE.items()),
        *((code, error, Fate.RETRY, Fate.UNKNOWN) for code, error in LOST.items()),
    ],
)
def test_the_table_of_outcomes(request_, code, error, read, write):
    end = judge(request_, wrap(request_, error))
    assert (end.fate, end.code) == (read if request_ is READ else write, code)


def test_every_region_error_is_in_the_table():
    tested = {*map(type, RETRIED.values()), *map(type, FOR_GOOD.values())}
    tested |= set(map(type, UNSURE.values()))
    assert tested == set(m.RegionError.__args__)


def test_an_answer_of_another_kind_says_nothing_about_a_write():
    assert judge(WRITE, m.RawGetReply()).fate is Fate.UNKNOWN
    assert judge(WRITE, None).fate is Fate.UNKNOWN
    assert judge(READ, m.RawPutReply()).fate is Fate.RETRY


def test_against_another_tikv_two_refusals_are_not_trusted():
    for error in (m.StaleCommand(), m.RegionNotFound()):
        assert judge(WRITE, wrap(WRITE, error), trust_refusals=False).fate is Fate.UNKNOWN
        assert judge(READ, wrap(READ, error), trust_refusals=False).fate is Fate.RETRY
    end = judge(WRITE, wrap(WRITE, m.NotLeader()), trust_refusals=False)
    assert end.fate is Fate.RETRY


def test_operations_give_what_the_store_says():
    network = Network(in_turn(m.RawGetReply(b"v")))
    assert asyncio.run(client(network).get(b"k")) == b"v"
    pairs = ((b"a", b"1"),)
    assert asyncio.run(client(Network(in_turn(m.RawScanReply(pairs)))).scan(b"a")) == pairs
    asyncio.run(client(Network(in_turn(m.RawDeleteReply()))).delete(b"k"))
    asyncio.run(client(Network(in_turn(m.RawCasReply(True, b"v")))).cas(b"k", b"v", None))


def test_a_cas_mismatch_is_definite_and_tells_what_was_seen():
    network = Network(in_turn(m.RawCasReply(False, b"x")))
    with pytest.raises(Definite) as error:
        asyncio.run(client(network).cas(b"k", b"v", b"w"))
    assert (error.value.code, error.value.observed) == ("cas-mismatch", b"x")


@pytest.mark.parametrize("lost", [TimeoutError(), EOFError()])
def test_a_write_is_never_sent_again_after_it_may_have_arrived(lost):
    network = Network(in_turn(lost, m.RawPutReply()))
    with pytest.raises(Undetermined):
        asyncio.run(client(network).put(b"k", b"v"))
    assert len(network.calls) == 1


@pytest.mark.parametrize("lost", [TimeoutError(), EOFError()])
def test_a_read_is_sent_again_elsewhere(lost):
    network = Network(in_turn(lost, m.RawGetReply(b"v")))
    assert asyncio.run(client(network).get(b"k")) == b"v"
    assert network.nodes == ["n1", "n2"]


def test_refusals_until_the_deadline_are_a_definite_no():
    network = Network(in_turn(m.RawPutReply(m.NotLeader())))
    with pytest.raises(Definite) as error:
        asyncio.run(client(network, op_timeout_s=1.0).put(b"k", b"v"))
    assert error.value.code == "no-leader"
    assert set(network.nodes) == set(NODES)
    assert 0.975 * SECOND <= network.now < 1.01 * SECOND
    assert all(timeout_s > 0.025 for _, _, timeout_s in network.calls)
    assert len(network.calls) < 20  # it backs off


def test_one_unknown_end_after_many_refusals_is_undetermined():
    refused = m.RawPutReply(m.NotLeader())
    network = Network(in_turn(refused, ConnectionError(), refused, TimeoutError()))
    with pytest.raises(Undetermined, match="timeout"):
        asyncio.run(client(network).put(b"k", b"v"))
    assert len(network.calls) == 4


def test_a_read_without_answer_fails_at_the_deadline():
    network = Network(in_turn(TimeoutError()))
    with pytest.raises(Definite) as error:
        asyncio.run(client(network, op_timeout_s=2.0).get(b"k"))
    assert error.value.code == "timeout"
    assert 4 <= len(network.calls) <= 5
    assert network.calls[0][2] == 0.5


def test_a_write_waits_for_its_one_answer_until_the_deadline():
    network = Network(in_turn(m.RawPutReply(m.ServerIsBusy()), m.RawPutReply()))
    asyncio.run(client(network, op_timeout_s=2.0).put(b"k", b"v"))
    assert network.calls[0][2] == 2.0
    assert 1.9 < network.calls[1][2] < 2.0
    assert network.nodes == ["n1", "n1"]  # busy: the same again, after a while
    assert len(network.slept) == 1


def test_what_no_retry_helps_is_told_at_once():
    for code, error in FOR_GOOD.items():
        network = Network(in_turn(m.RawPutReply(error)))
        with pytest.raises(Definite, match=code):
            asyncio.run(client(network).put(b"k", b"v"))
        assert len(network.calls) == 1


def test_an_operation_without_time_is_too_late():
    network = Network(in_turn(m.RawPutReply()))
    with pytest.raises(Definite, match="too-late"):
        asyncio.run(client(network, op_timeout_s=0.0).put(b"k", b"v"))
    assert network.calls == []


def test_timeout_is_fail_calls_an_unknown_write_failed():
    for bugs, kind in (((), Undetermined), (("timeout-is-fail",), Definite)):
        network = Network(in_turn(TimeoutError()))
        session = client(network, bugs=bugs)
        with pytest.raises(kind, match="timeout"):
            asyncio.run(session.put(b"k", b"v"))
        assert session.probes == ({"timeout-is-fail": 1} if bugs else {})


# -- routing -------------------------------------------------------------------------------------


def cluster(leader, hints=None):
    """Nodes that know the leader; ``leader`` is a list whose only item may change."""

    def answer(node, request):
        if node in leader:
            return m.RawGetReply(b"v")
        return m.RawGetReply(error=m.NotLeader((hints or {}).get(node, leader[0])))

    return answer


def gets(session, count):
    async def run():
        for _ in range(count):
            await session.get(b"k")

    asyncio.run(run())


def test_a_hint_is_followed_at_once_and_remembered_for_a_while():
    network = Network(cluster(["n3"]))
    session = client(network, op_timeout_s=2.0)
    gets(session, 3)
    assert network.nodes == ["n1", "n3", "n3", "n3"]
    assert network.slept == []
    network.now += SECOND  # longer than it is remembered
    gets(session, 2)
    assert network.nodes[4:] == ["n1", "n3", "n3"]


def test_a_session_goes_back_to_its_own_node_though_it_is_a_deposed_leader():
    network = Network(cluster(["n1"]))
    session = client(network)
    gets(session, 2)
    network.script = cluster(["n1", "n2"])  # n2 was elected; n1 does not know
    network.now += 2 * SECOND
    gets(session, 3)
    assert network.nodes == ["n1"] * 5


def test_always_starts_at_home_and_leader_cache_never_goes_back():
    network = Network(cluster(["n3"]))
    gets(client(network, prefer="always"), 2)
    assert network.nodes == ["n1", "n3", "n1", "n3"]
    network = Network(cluster(["n3"]))
    session = client(network, prefer="leader-cache")
    gets(session, 1)
    network.now += 100 * SECOND
    gets(session, 1)
    assert network.nodes == ["n1", "n3", "n3"]


def test_nodes_that_name_each_other_are_not_asked_in_a_tight_loop():
    network = Network(cluster(["none"], {"n1": "n2", "n2": "n1", "n3": "n1"}))
    with pytest.raises(Definite, match="no-leader"):
        gets(client(network, op_timeout_s=2.0), 1)
    assert len(network.calls) < 40


def test_a_node_that_hangs_is_left_alone_for_a_while():
    network = Network(in_turn(TimeoutError(), m.RawGetReply(b"v")))
    session = client(network)
    with pytest.raises(Undetermined):
        asyncio.run(session.put(b"k", b"v"))
    gets(session, 2)
    assert network.nodes == ["n1", "n2", "n2"]


def test_a_dead_own_node_is_left_for_the_known_leader():
    route = Route(NODES, "n1", prefer="bound", forget_ns=10)
    route.answered("n3", 0)
    assert route.first(5) == "n3"
    assert route.first(20) == "n1"
    assert route.next("n1", "", 20) == "n3"
    assert route.next("n3", "", 20) == "n1"
    assert route.next("n1", "n9", 20) == "n2"  # a hint that we do not know


def test_backoff_doubles_up_to_its_cap_with_half_of_it_drawn():
    backoff = Backoff(Random(3).stream("b"), base_s=0.1, cap_s=1.0)
    waits = [backoff.next_s() for _ in range(8)]
    steps = [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0]
    assert all(step / 2 <= wait <= step for wait, step in zip(waits, steps, strict=True))
    other = Backoff(Random(4).stream("b"), base_s=0.1, cap_s=1.0)
    assert waits != [other.next_s() for _ in range(8)]


def test_wrong_options_are_named():
    with pytest.raises(RequestError, match="n7"):
        client(Network(None), node="n7")
    with pytest.raises(RequestError, match="known: bound, always, leader-cache"):
        client(Network(None), prefer="random")


def test_closing_the_session_closes_its_caller():
    network = Network(in_turn(m.RawGetReply()))
    session = client(network)
    assert isinstance(session, RawClient)
    asyncio.run(session.close())
    assert network.script is None
