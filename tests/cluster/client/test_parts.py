"""The pure parts, each against what it says: waits, breakers, regions; and timestamps in batches."""

from __future__ import annotations

import asyncio
import doctest
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitbrain.cluster.client import backoff, regions
from splitbrain.cluster.client.backoff import KINDS, OutOfPatience, Patience, Policy, step_s
from splitbrain.cluster.client.breaker import Breakers
from splitbrain.cluster.client.options import TxnOptions
from splitbrain.cluster.client.pd_client import PdClient, PdFailed
from splitbrain.cluster.client.regions import RegionCache
from splitbrain.cluster.messages import pd, pd_errors
from splitbrain.cluster.messages.pd_types import StoreMeta, split_ts
from splitbrain.cluster.messages.region import Epoch, Peer, Region
from splitbrain.env.random import Random
from splitbrain.errors import RequestError
from splitbrain.substrates.sim.loop import SimLoop

from .scripted import Scripted, in_turn


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(backoff).failed == doctest.testmod(regions).failed == 0


# -- waits ---------------------------------------------------------------------------------------


def waits(name: str, count: int, *, seed: int = 1, **policy: Any) -> list[float]:
    network = Scripted(in_turn(None))

    async def main() -> None:
        stream = Random(seed).stream("x")
        patience = Patience(
            network, stream, timeout_s=900, budget_s=900, policy=Policy(**policy)
        )
        for _ in range(count):
            await patience.pause(name)

    asyncio.run(main())
    return network.slept


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("jitter", ["none", "equal", "full"])
def test_steps_grow_up_to_a_cap_and_jitter_keeps_within_them(name: str, jitter: Any) -> None:
    slept = waits(name, 12, jitter=jitter)
    least = {"none": 1.0, "equal": 0.5, "full": 0.0}[jitter]
    for tries, wait in enumerate(slept):
        step = step_s(KINDS[name], tries, Policy())
        assert least * step <= wait <= step <= KINDS[name].cap_s
    assert step_s(KINDS[name], 11, Policy()) == KINDS[name].cap_s
    assert (waits(name, 12, jitter=jitter, seed=2) == slept) is (jitter == "none")


def test_policies() -> None:
    assert waits("busy", 3, jitter="none", growth=1.0) == [0.2, 0.2, 0.2]
    assert waits("region-miss", 3, scale=10.0) == [0.02, 0.04, 0.08]


def test_patience_ends_at_its_deadline_and_tells_what_took_the_time() -> None:
    network = Scripted(in_turn(None))

    async def main() -> str:
        patience = Patience(network, Random(1).stream("x"), timeout_s=1.0)
        await patience.pause("region-miss")
        try:
            while True:
                await patience.pause("busy")
        except OutOfPatience as error:
            return error.code

    assert asyncio.run(main()) == "busy"
    assert network.now == pytest.approx(10**9, abs=10)


def test_patience_ends_when_its_budget_is_slept() -> None:
    network = Scripted(in_turn(None))

    async def main() -> float:
        patience = Patience(network, Random(1).stream("x"), timeout_s=900, budget_s=1.0)
        network.now += 10**11  # waiting for answers is not sleeping
        twin = patience.fork()
        while twin.slept_s < 1.0:
            await twin.pause("lock-fast", "lock-timeout")
        with pytest.raises(OutOfPatience, match="lock-timeout"):
            await twin.pause("busy")
        await patience.pause("lock-fast", at_most_s=0.001)
        assert network.slept[-1] == 0.001
        return twin.slept_s

    assert 1.0 <= asyncio.run(main()) < 4.0


# -- breakers ------------------------------------------------------------------------------------


def test_a_breaker_opens_probes_and_closes() -> None:
    breakers = Breakers(failures_max=3, cooldown_s=1e-9 * 100)
    for _ in range(2):
        breakers.failed(1, 0)
    breakers.of(1).succeeded()
    for _ in range(2):
        breakers.failed(1, 0)
    assert breakers.passes(1, 0)
    breakers.failed(1, 0)
    assert not breakers.passes(1, 99)
    assert breakers.passes(1, 100)
    breakers.of(1).sent()
    assert not breakers.passes(1, 100)  # one probe at a time
    breakers.failed(1, 150)
    assert (breakers.passes(1, 249), breakers.passes(1, 250)) == (False, True)
    breakers.of(1).succeeded()
    assert breakers.passes(1, 0)
    assert breakers.opened == 2
    assert breakers.passes(2, 0)


# -- regions -------------------------------------------------------------------------------------

BOUNDS = [b"", b"b", b"d", b"f", b"h"]
KEYS = [bytes([letter]) for letter in b"abcdefghi"]


@st.composite
def descriptions(draw: Any) -> Region:
    at = draw(st.integers(0, len(BOUNDS) - 1))
    to = draw(st.integers(at + 1, len(BOUNDS)))
    end = BOUNDS[to] if to < len(BOUNDS) else b""
    epoch = Epoch(draw(st.integers(1, 2)), draw(st.integers(1, 4)))
    return Region(draw(st.integers(1, 4)), BOUNDS[at], end, epoch, (Peer(1, 1),))


@settings(max_examples=300, deadline=None)
@given(st.lists(descriptions(), max_size=12))
def test_the_cache_against_a_list(told: list[Region]) -> None:
    """Oracle: all that is believed, in a list; what is newer refuses, what overlaps goes."""
    cache, believed = RegionCache(), list[Region]()

    def overlap(one: Region, other: Region) -> bool:
        low = not one.end or one.end > other.start
        return low and (not other.end or other.end > one.start)

    for region in told:
        refused = any(
            (overlap(one, region) or one.id == region.id)
            and (
                one.epoch.version > region.epoch.version
                or (one.id == region.id and one.epoch.conf_version > region.epoch.conf_version)
            )
            for one in believed
        )
        assert cache.insert(region, None, 0) is not refused
        if not refused:
            believed = [
                one for one in believed if not overlap(one, region) and one.id != region.id
            ]
            believed.append(region)
        for key in KEYS:
            found = cache.find(key, 0)
            assert (found and found.region) == next(
                (one for one in believed if one.covers(key)), None
            )
        for bound in BOUNDS:
            before = cache.find_before(bound, 0)
            wanted = [
                one
                for one in believed
                if (not bound and not one.end)
                or (bound and one.start < bound and (not one.end or bound <= one.end))
            ]
            assert (before and before.region) == (wanted[0] if wanted else None)


def test_what_is_not_used_is_forgotten() -> None:
    cache = RegionCache(idle_s=10)
    cache.insert(Region(1), None, 0)
    assert cache.find(b"a", 9 * 10**9)
    assert cache.find(b"a", 18 * 10**9)
    assert cache.find(b"a", 29 * 10**9) is None


def test_a_failed_store_leads_nothing() -> None:
    cache = RegionCache()
    peers = (Peer(11, 1), Peer(12, 2))
    cache.insert(Region(1, b"", b"m", Epoch(), peers), peers[0], 0)
    cache.insert(Region(2, b"m", b"", Epoch(), peers), peers[1], 0)
    cache.store_failed(1)
    assert cache.find(b"a", 0) is None
    assert cache.find(b"x", 0)
    assert not cache.insert(Region(1, b"", b"m", Epoch(1, 0), peers), None, 0)
    assert cache.find(b"a", 0)  # nobody knows better


def test_stores_by_node() -> None:
    cache = RegionCache()
    cache.put_stores([StoreMeta(1, "n1"), StoreMeta(4, "n1"), StoreMeta(2, "n2")])
    found = cache.store_of("n1")
    assert found is not None
    assert found.id == 4
    cache.forget_store(4)
    assert cache.store(4) is None


def test_wrong_options_are_named() -> None:
    with pytest.raises(RequestError, match="known: plain, parallel, async, one-phase"):
        TxnOptions(commit_path="2pc")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="lock_ttl_ms"):
        TxnOptions(lock_ttl_ms=0)


# -- the placement driver ------------------------------------------------------------------------


class Pd:
    """Members that answer after 5 ms, as the script says; time is the loop's."""

    def __init__(self, script: Any) -> None:
        self.script = script
        self.asked: list[tuple[float, str, Any]] = []

    async def call(self, node: str, request: Any, *, timeout_s: float) -> Any:
        self.asked.append((asyncio.get_running_loop().time(), node, request))
        answer = self.script(node, request)
        await asyncio.sleep(timeout_s if isinstance(answer, TimeoutError) else 0.005)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing to close."""

    def monotonic_ns(self) -> int:
        return int(asyncio.get_running_loop().time() * 1e9)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def with_pd(script: Any, main: Any) -> tuple[Any, Pd]:
    network = Pd(script)

    async def run() -> Any:
        one = PdClient(network, network, ("n1", "n2", "n3"), timeout_s=0.1)

        def patience(timeout_s: float = 2.0) -> Patience:
            return Patience(network, Random(1).stream("x"), timeout_s=timeout_s)

        return await main(one, patience)

    return SimLoop().run(run), network


class Oracle:
    def __init__(self) -> None:
        self.last = 1_000 << 18

    def __call__(self, node: str, request: Any) -> Any:
        if not isinstance(request, pd.Tso):
            return pd.GetMembersReply((), "n1")
        self.last += request.count
        return pd.TsoReply(*split_ts(self.last), request.count)


def test_callers_at_one_time_share_a_request_and_each_gets_its_own() -> None:
    async def main(one: PdClient, patience: Any) -> list[int]:
        async def ask(delay_s: float) -> int:
            await asyncio.sleep(delay_s)
            return await one.timestamp(patience())

        delays = [0.0, 0.001, 0.002, 0.003, 0.004, 0.012]
        return list(await asyncio.gather(*map(ask, delays)))

    given_, network = with_pd(Oracle(), main)
    assert len(set(given_)) == 6
    counts = [request.count for _, _, request in network.asked]
    assert counts == [1, 4, 1]
    # Those who came while the first was under way got none of it, but of the one sent after.
    sent = [when for when, _, _ in network.asked]
    assert sent[1] >= 0.004


def test_a_timestamp_is_of_a_request_sent_after_it_was_asked_for() -> None:
    oracle = Oracle()

    async def main(one: PdClient, patience: Any) -> None:
        async def ask(delay_s: float) -> None:
            for _ in range(20):
                await asyncio.sleep(delay_s)
                before = oracle.last
                assert await one.timestamp(patience()) > before

        await asyncio.gather(*(ask(0.001 * n) for n in range(1, 6)))

    _, network = with_pd(oracle, main)
    assert len(network.asked) < 80


def test_the_leader_is_found() -> None:
    def script(node: str, request: Any) -> Any:
        if isinstance(request, pd.GetMembers):
            return pd.GetMembersReply((), "n3")
        if node == "n3":
            return pd.TsoReply(7, 1, 1)
        return ConnectionError() if node == "n1" else pd.TsoReply(error=pd_errors.PdNotLeader())

    async def main(one: PdClient, patience: Any) -> int:
        await one.timestamp(patience())
        return await one.timestamp(patience())

    got, network = with_pd(script, main)
    assert got == (7 << 18) + 1
    assert [node for _, node, _ in network.asked] == ["n1", "n2", "n3", "n3"]


def test_a_named_leader_is_asked_at_once() -> None:
    def script(node: str, request: Any) -> Any:
        told = pd.TsoReply(error=pd_errors.PdNotLeader("n2"))
        return pd.TsoReply(7, 1, 1) if node == "n2" else told

    async def main(one: PdClient, patience: Any) -> int:
        return await one.timestamp(patience())

    _, network = with_pd(script, main)
    assert [when for when, _, _ in network.asked] == [0.0, 0.005]


def test_who_waits_longest_for_a_timestamp_is_not_held_up_by_the_hasty() -> None:
    def script(node: str, request: Any) -> Any:
        late = asyncio.get_running_loop().time() > 0.5
        if isinstance(request, pd.GetMembers):
            return pd.GetMembersReply((), "n1")
        return pd.TsoReply(7, 9, request.count) if late else TimeoutError()

    async def main(one: PdClient, patience: Any) -> list[Any]:
        asks = (one.timestamp(patience(timeout_s)) for timeout_s in (0.2, 2.0))
        return list(await asyncio.gather(*asks, return_exceptions=True))

    (hasty, calm), _ = with_pd(script, main)
    assert isinstance(hasty, OutOfPatience)
    assert calm == (7 << 18) + 9


def test_an_error_for_good_is_told() -> None:
    refusal = pd.TsoReply(error=pd_errors.ClusterMismatch(1, 2))

    async def main(one: PdClient, patience: Any) -> None:
        with pytest.raises(PdFailed, match="pd-refused"):
            await one.timestamp(patience())

    with_pd(lambda node, request: refusal, main)
