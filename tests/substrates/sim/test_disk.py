"""The simulated disk: what survives kill and power, group commit, slow and failing disks."""

from __future__ import annotations

import errno
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitbrain.env.random import Random
from splitbrain.substrates.sim.disk import SimDisk
from splitbrain.substrates.sim.loop import Deadlock, SimLoop

MS = 1_000_000


class Bench:
    """A disk on a loop of its own, and the completions that were told."""

    def __init__(self, seed: int = 1, **how: int) -> None:
        self.loop = SimLoop()
        self.disk = SimDisk(self.loop, Random(seed), **{"fsync_ns": MS, "jitter_ns": 0, **how})
        self.disk.attach(lambda done, error: done(error))
        self.told: list[tuple[Any, int, Exception | None]] = []

    def note(self, label: Any) -> Any:
        return lambda error: self.told.append((label, self.loop.now_ns, error))

    def run(self, until_ns: int | None = None) -> list[Any]:
        """Let time pass, to ``until_ns`` or as long as anything happens."""
        if until_ns is not None:
            self.loop.post_ns(until_ns, lambda _: self.loop.stop(), None)
        try:
            self.loop.run_forever()
        except Deadlock:
            assert until_ns is None
        return [label for label, _, _ in self.told]


def test_appends_are_seen_at_once_and_fsync_takes_its_time() -> None:
    bench = Bench()
    bench.disk.append("b", b"x")
    bench.disk.append("a", b"1")
    bench.disk.append("a", b"2")
    assert bench.disk.read("a") == b"12"
    assert bench.disk.read("nothing") == b""
    assert bench.disk.files() == ("a", "b")
    bench.disk.fsync("a", bench.note("sync"))
    assert bench.told == []
    bench.run()
    assert bench.told == [("sync", MS, None)]


def test_requests_that_wait_share_a_sync_and_end_in_order() -> None:
    bench = Bench()
    for number in range(5):
        bench.disk.append("log", b"x")
        bench.disk.fsync("log", bench.note(number))
    bench.disk.replace("meta", b"m", bench.note("meta"))
    assert bench.run() == [0, 1, 2, 3, 4, "meta"]
    assert [when for _, when, _ in bench.told] == [MS] + [2 * MS] * 5
    assert bench.disk.counts().syncs == 2
    assert bench.disk.counts().fsyncs == 6


def test_jitter_and_slowness_lengthen_syncs() -> None:
    bench = Bench(jitter_ns=MS)
    lengths = []
    for number in range(50):
        before = bench.loop.now_ns
        bench.disk.fsync("log", bench.note(number))
        bench.run()
        lengths.append(bench.loop.now_ns - before)
    assert MS <= min(lengths) < max(lengths) < 2 * MS
    bench.disk.extra_ns = 100 * MS
    before = bench.loop.now_ns
    bench.disk.fsync("log", bench.note("slow"))
    bench.run()
    assert bench.loop.now_ns - before > 100 * MS


def test_kill_keeps_what_was_written_and_completes_nothing() -> None:
    bench = Bench()
    bench.disk.append("log", b"durable")
    bench.disk.fsync("log", bench.note("sync"))
    bench.run()
    bench.disk.append("log", b", written")
    bench.disk.fsync("log", bench.note("never"))
    bench.disk.kill()
    assert bench.run() == ["sync"]
    assert bench.disk.read("log") == b"durable, written"


def test_bytes_of_a_killed_node_are_not_durable_until_synced() -> None:
    lost = 0
    for seed in range(40):
        bench = Bench(seed)
        bench.disk.append("log", b"0123456789")
        bench.disk.kill()
        assert bench.disk.read("log") == b"0123456789"
        bench.disk.power()
        lost += bench.disk.read("log") == b""
    assert 5 < lost < 30
    bench = Bench()
    bench.disk.append("log", b"0123456789")
    bench.disk.kill()
    bench.disk.fsync("log", bench.note("sync"))
    bench.run()
    bench.disk.power()
    assert bench.disk.read("log") == b"0123456789"


def test_power_loses_nothing_that_was_synced_and_tears_the_rest() -> None:
    kept = set()
    for seed in range(60):
        bench = Bench(seed)
        bench.disk.append("log", b"abc")
        bench.disk.fsync("log", bench.note("sync"))
        bench.run()
        bench.disk.append("log", b"defg")
        bench.disk.append("log", b"hij")
        bench.disk.power()
        left = bench.disk.read("log")
        assert b"abcdefghij".startswith(left)
        assert left.startswith(b"abc")
        kept.add(len(left))
        bench.disk.power()  # what is on the disk after a loss of power is durable
        assert bench.disk.read("log") == left
    assert {3, 10} < kept
    assert len(kept) >= 6


def test_a_replace_is_there_in_whole_or_not_at_all() -> None:
    seen = set()
    for seed in range(40):
        bench = Bench(seed)
        bench.disk.replace("meta", b"old", bench.note("old"))
        bench.run()
        bench.disk.append("meta", b"+tail")
        bench.disk.replace("meta", b"new!", bench.note("new"))
        bench.run(bench.loop.now_ns + MS // 2)
        end = bench.disk.power if seed % 2 else bench.disk.kill
        end()
        seen.add((seed % 2, bench.disk.read("meta")))
        assert bench.run() == ["old"]
    assert {(0, b"old+tail"), (0, b"new!"), (1, b"old"), (1, b"new!")} <= seen
    assert {left for power, left in seen if not power} == {b"old+tail", b"new!"}


def test_a_removal_is_durable_with_the_next_sync() -> None:
    bench = Bench()
    for name in ("a", "b"):
        bench.disk.append(name, b"x")
        bench.disk.fsync(name, bench.note(name))
    bench.run()
    bench.disk.remove("a")
    assert bench.disk.files() == ("b",)
    assert bench.disk.read("a") == b""
    bench.disk.power()
    assert bench.disk.files() == ("a", "b")  # it had not been synced: the file is back
    bench.disk.remove("a")
    bench.disk.fsync("b", bench.note("sync"))
    bench.run()
    bench.disk.power()
    assert bench.disk.files() == ("b",)
    bench.disk.remove("nothing")


def test_a_file_made_anew_after_its_removal() -> None:
    bench = Bench()
    bench.disk.append("a", b"old")
    bench.disk.fsync("a", bench.note("sync"))
    bench.run()
    bench.disk.remove("a")
    bench.disk.append("a", b"new")
    assert bench.disk.read("a") == b"new"
    bench.disk.fsync("a", bench.note("again"))
    bench.run()
    bench.disk.power()
    assert bench.disk.read("a") == b"new"


def test_errors_are_told_and_nothing_of_them_is_durable() -> None:
    bench = Bench()
    bench.disk.replace("meta", b"good", bench.note("first"))
    bench.run()
    bench.disk.error = errno.ENOSPC
    bench.disk.append("log", b"x")
    bench.disk.replace("meta", b"bad", bench.note("replace"))
    bench.run()
    bench.disk.error = None
    bench.disk.fsync("log", bench.note("append"))
    bench.disk.fsync("log", bench.note("healed"))
    bench.run()
    errors = {label: error for label, _, error in bench.told}
    assert errors["first"] is None
    assert isinstance(errors["replace"], OSError)
    assert errors["replace"].errno == errno.ENOSPC  # type: ignore[attr-defined]
    assert isinstance(errors["append"], OSError)
    assert errors["healed"] is None
    assert bench.disk.read("log") == b""
    assert bench.disk.read("meta") == b"good"


def test_names_are_flat() -> None:
    with pytest.raises(AssertionError, match="flat"):
        Bench().disk.append("a/b", b"")


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from("ab"), st.binary(min_size=1, max_size=4)),
        st.tuples(st.just("fsync"), st.sampled_from("ab"), st.none()),
        st.tuples(st.just("replace"), st.sampled_from("ab"), st.binary(max_size=4)),
        st.tuples(st.just("remove"), st.sampled_from("ab"), st.none()),
        st.tuples(st.just("wait"), st.none(), st.integers(0, 3 * MS)),
        st.tuples(st.just("kill"), st.none(), st.none()),
    ),
    max_size=25,
)


class Story:
    """The dumb twin: all contents that a file has had since the one that is surely durable.

    After a loss of power a file must be one of them, or a prefix of what was being appended to one.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.disk = bench.disk
        self.versions: dict[str, list[tuple[int, bytes]]] = {"a": [(0, b"")], "b": [(0, b"")]}
        self.number = self.life = 0

    def note(self, name: str, content: bytes) -> None:
        self.number += 1
        self.versions[name].append((self.number, content))

    def durable(self, name: str) -> Any:
        """A completion: what the file is now has become durable, so that nothing older can be."""
        life, newest = self.life, self.versions[name][-1][0]

        def done(error: Exception | None) -> None:
            assert error is None
            assert life == self.life, "a killed node was told"
            self.versions[name] = [each for each in self.versions[name] if each[0] >= newest]

        return done

    def seen(self, name: str) -> bytes:
        return self.versions[name][-1][1]

    def append(self, name: str, value: bytes) -> None:
        self.disk.append(name, value)
        self.note(name, self.seen(name) + value)

    def fsync(self, name: str, _: None) -> None:
        self.disk.fsync(name, self.durable(name))

    def replace(self, name: str, value: bytes) -> None:
        self.note(name, value)
        self.disk.replace(name, value, self.durable(name))

    def remove(self, name: str, _: None) -> None:
        self.disk.remove(name)
        self.note(name, b"")

    def wait(self, _: str, value: int) -> None:
        self.bench.run(self.bench.loop.now_ns + value)

    def kill(self, *_: object) -> None:
        self.life += 1
        self.disk.kill()
        for name in "ab":
            left = self.disk.read(name)
            assert left in [content for _, content in self.versions[name]]
            self.note(name, left)

    def check(self) -> None:
        assert [self.disk.read(name) for name in "ab"] == [self.seen(name) for name in "ab"]

    def check_after_power(self) -> None:
        for name in "ab":
            contents = [content for _, content in self.versions[name]]
            allowed = set(contents)
            for old, new in itertools.pairwise(contents):
                if new.startswith(old):
                    allowed |= {new[:end] for end in range(len(old), len(new))}
            assert self.disk.read(name) in allowed


@settings(max_examples=300, deadline=None)
@given(steps, st.integers(0, 1000))
def test_after_power_a_file_is_as_at_some_time_since_its_last_sync(
    acts: list[tuple[str, str, Any]], seed: int
) -> None:
    story = Story(Bench(seed, jitter_ns=MS))
    for verb, name, value in acts:
        getattr(story, verb)(name, value)
        story.check()
    story.disk.power()
    story.check_after_power()
    left = [story.disk.read(name) for name in "ab"]
    story.disk.power()
    assert [story.disk.read(name) for name in "ab"] == left


def test_the_fate_of_bytes_is_that_of_the_seed() -> None:
    def left(seed: int) -> bytes:
        bench = Bench(seed)
        bench.disk.append("log", bytes(1000))
        bench.disk.power()
        return bench.disk.read("log")

    assert [left(seed) for seed in range(20)] == [left(seed) for seed in range(20)]
    assert len({len(left(seed)) for seed in range(20)}) > 5


def test_bytes_appended_during_a_sync_are_not_covered_by_it() -> None:
    kept = set()
    for seed in range(30):
        bench = Bench(seed)
        bench.disk.append("log", b"covered")
        bench.disk.fsync("log", bench.note("sync"))
        bench.disk.append("log", b", not")
        assert bench.run() == ["sync"]
        bench.disk.power()
        kept.add(bench.disk.read("log"))
    assert b"covered" in kept
    assert all(b"covered, not".startswith(left) and len(left) >= 7 for left in kept)


def test_a_removal_behind_a_replace_that_did_not_happen_did_not_happen() -> None:
    undone = 0
    for seed in range(20):
        bench = Bench(seed)
        bench.disk.replace("a", b"old", bench.note("old"))
        bench.run()
        bench.disk.replace("a", b"new", bench.note("new"))
        bench.disk.remove("a")
        bench.disk.kill()
        left = bench.disk.read("a")
        assert left in (b"old", b"")
        undone += left == b"old"
        bench.disk.fsync("b", bench.note("b"))
        assert bench.run() == ["old", "b"]
        bench.disk.power()
        assert bench.disk.read("a") == left
    assert 5 < undone < 20


def test_a_sync_of_the_dead_does_not_end_one_of_the_living() -> None:
    bench = Bench()
    bench.disk.fsync("log", bench.note("dead"))
    bench.run(MS // 2)
    bench.disk.kill()
    bench.disk.fsync("log", bench.note("living"))
    assert bench.run() == ["living"]
    assert bench.told[0][1] == MS // 2 + MS


def test_a_removal_whose_sync_died_is_durable_with_the_next_one() -> None:
    for seed in range(10):
        bench = Bench(seed)
        bench.disk.replace("a", b"x", bench.note("a"))
        bench.run()
        bench.disk.remove("a")
        bench.disk.fsync("b", bench.note("dead"))
        bench.disk.kill()
        bench.disk.fsync("b", bench.note("living"))
        assert bench.run() == ["a", "living"]
        bench.disk.power()
        assert bench.disk.files() == ("b",)
