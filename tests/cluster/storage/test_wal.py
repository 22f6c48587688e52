"""The log file: what a crash at any byte leaves, what damage anywhere does, who is told when."""

from __future__ import annotations

import doctest

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitbrain.cluster.raft.types import (
    Entry,
    EntryKind,
    HardState,
    Snapshot,
    SnapshotMeta,
)
from splitbrain.cluster.storage import logfile, records, wal
from splitbrain.cluster.storage.records import CorruptLog, pack, scan
from splitbrain.cluster.storage.wal import LOG_FILE, Stored, Wal
from splitbrain.errors import NewerStore


class Bench:
    """One log on one disk whose operations complete when told to."""

    def __init__(self, new_disk):
        self.queue = []
        self.disk = new_disk(lambda delay, callback: self.queue.append(callback))
        self.done = []
        self.settled = 0

    def open(self):
        self.queue.clear()  # what was under way died with the last incarnation
        self.wal = Wal(self.disk, settled=self._settled)
        return self.wal.open(lambda: self.done.append("open"))

    def _settled(self):
        self.settled += 1

    def finish(self, steps=1000):
        while self.queue and steps:
            self.queue.pop(0)()
            steps -= 1

    def append(self, name, hard=None, entries=(), *, sync=True):
        self.wal.append(hard, entries, sync=sync, done=lambda: self.done.append(name))


@pytest.fixture
def bench(new_disk):
    bench = Bench(new_disk)
    assert bench.open() == Stored()
    bench.finish()
    assert bench.done == ["open"]
    bench.done.clear()
    return bench


def entry(index, term=1, data=b"data"):
    return Entry(index, term, EntryKind.NORMAL, data)


def payload(content, group=1):
    return group.to_bytes(8, "big") + msgspec.msgpack.encode(content)


def snapshot(index, term=1, data=b"state"):
    return Snapshot(SnapshotMeta(index, term, ("n1", "n2", "n3")), data)


def written(bench):
    """Three calls, all durable; the record ends in the file."""
    bench.append("a", HardState(1, "n1", 0), (entry(1), entry(2)))
    bench.append("b", HardState(2, "n2", 1), (entry(2, 2), entry(3, 2, b"x" * 40)))
    bench.append("c", None, (entry(4, 2),))
    bench.finish()
    return bench.disk.written[LOG_FILE]


def test_what_was_appended_is_found_again(bench):
    written(bench)
    expected = Stored(
        HardState(2, "n2", 1),
        entries=(entry(1), entry(2, 2), entry(3, 2, b"x" * 40), entry(4, 2)),
    )
    assert bench.wal.stored() == expected
    assert bench.open() == expected


def test_one_sync_is_under_way_and_the_next_covers_all_that_came_meanwhile(bench):
    before = bench.disk.syncs
    for name in "abcde":
        bench.append(name, None, (entry("abcde".index(name) + 1),))
    assert bench.done == []
    bench.finish(1)
    assert bench.done == ["a"]
    bench.finish(1)
    assert bench.done == ["a", "b", "c", "d", "e"]
    assert bench.disk.syncs - before == 2
    assert not bench.queue
    assert not bench.wal.busy


def test_an_unsynced_write_completes_at_once_or_after_those_before_it(bench):
    bench.append("commit", HardState(0, "", 1), sync=False)
    assert bench.done == ["commit"]
    bench.append("a", None, (entry(1),))
    bench.append("later", HardState(0, "", 2), sync=False)
    assert bench.done == ["commit"]
    bench.finish()
    assert bench.done == ["commit", "a", "later"]


def test_settled_comes_once_behind_all_that_one_sync_completes(bench):
    bench.settled = 0
    bench.append("a", None, (entry(1),))
    bench.append("b", None, (entry(2),))
    bench.append("c", None, (entry(3),))
    bench.finish(2)
    assert bench.done == ["a", "b", "c"]
    assert bench.settled == 2


def test_opening_makes_durable_what_a_kill_left_unsynced(bench):
    bench.append("a", None, (entry(1),))
    assert bench.done == []
    found = bench.open()  # a kill: written bytes are still there
    assert found.entries == (entry(1),)
    bench.finish()
    assert bench.done == ["open"]
    bench.disk.lose_power()
    assert bench.open().entries == (entry(1),)


def test_a_compacted_log_is_snapshot_and_tail(bench):
    written(bench)
    size = bench.wal.size
    bench.wal.compact(snapshot(3, 2), lambda: bench.done.append("compacted"))
    bench.append("during", None, (entry(5, 2),))  # held back behind the rewrite
    bench.finish()
    assert bench.done[-2:] == ["compacted", "during"]
    expected = Stored(HardState(2, "n2", 1), snapshot(3, 2), (entry(4, 2), entry(5, 2)))
    assert bench.wal.stored() == bench.open() == expected
    assert bench.wal.size == len(bench.disk.written[LOG_FILE]) < size + 100


def test_an_installed_snapshot_replaces_the_whole_log(bench):
    written(bench)
    bench.append("before", None, (entry(5, 2),))  # its sync is under way
    bench.wal.install(
        snapshot(50, 7), HardState(7, "", 50), (), lambda: bench.done.append("installed")
    )
    bench.append("after", None, (entry(51, 7),))
    bench.finish(1)
    assert bench.done[-1] == "before"
    # Power lost here must find the old log, with no entry 51 that has no predecessor.
    assert bench.wal.busy
    assert scan(LOG_FILE, bench.disk.written[LOG_FILE])[0][-1].payload == (payload(entry(5, 2)))
    bench.finish()
    assert bench.done[-2:] == ["installed", "after"]
    bench.disk.lose_power()
    assert bench.open() == Stored(HardState(7, "", 50), snapshot(50, 7), (entry(51, 7),))


def test_a_cut_at_every_byte_finds_the_records_before_it(bench):
    content = written(bench)
    found, _ = scan(LOG_FILE, content)
    ends = [one.offset for one in found[1:]] + [len(content)]
    seen = set()
    for cut in range(len(content)):
        bench.disk.written[LOG_FILE] = bench.disk.durable[LOG_FILE] = content[:cut]
        stored = bench.open()
        good = max((end for end in ends if end <= cut), default=0)
        assert bench.wal.torn_bytes == cut - good
        bench.done.clear()
        bench.finish()
        assert bench.done == ["open"]
        # The cut is durable and the log goes on behind it.
        following = stored.snapshot.meta.index + len(stored.entries) + 1
        bench.append("next", None, (entry(following, 9),))
        bench.finish()
        bench.disk.lose_power()
        again = bench.open()
        assert bench.wal.torn_bytes == 0
        assert again.entries == (*stored.entries, entry(following, 9))
        assert again.hard_state == stored.hard_state
        seen.add((stored.hard_state, stored.entries))
    assert len(seen) == 7  # each of the 8 records but the first, and not the last, made one


def test_damage_at_every_byte_refuses_to_start_or_was_in_the_last_record(bench):
    content = written(bench)
    found, _ = scan(LOG_FILE, content)
    starts = [one.offset for one in found]
    for place in range(len(content)):
        bad = bytearray(content)
        bad[place] ^= 0x10
        bench.disk.written[LOG_FILE] = bytes(bad)
        hit = max(start for start in starts if start <= place)
        if hit == starts[-1]:
            assert len(bench.open().entries) == 3
        else:
            with pytest.raises(CorruptLog, match="refuses to start") as error:
                bench.open()
            assert (error.value.file, error.value.offset) == (LOG_FILE, hit)


def test_a_log_stored_as_a_value_is_not_taken_for_records(bench):
    content = written(bench)
    bench.append("d", None, (entry(5, 2, content),))
    bench.finish()
    whole = bench.disk.written[LOG_FILE]
    bench.disk.written[LOG_FILE] = whole[:-1]  # the last record is torn; its inside looks whole
    assert len(bench.open().entries) == 4


def test_a_record_is_valid_only_in_its_own_place():
    one = pack(0, 1, b"abc")
    assert scan("f", one)[0][0].payload == b"abc"
    assert scan("f", one + one) == (scan("f", one)[0], len(one))


def test_a_log_of_a_newer_version_is_told(bench):
    bench.disk.written[LOG_FILE] = pack(0, 1, msgspec.msgpack.encode(3))
    with pytest.raises(NewerStore, match="format 3"):
        bench.open()


@pytest.mark.parametrize(
    ("type_", "content", "problem"),
    [
        (9, b"", "type 9"),
        (4, payload(None)[:8] + b"\xc1", "type 4"),
        (4, payload(entry(3)), "gap before entry 3"),
    ],
)
def test_a_sound_record_with_senseless_content_refuses_to_start(bench, type_, content, problem):
    whole = bench.disk.written[LOG_FILE]
    bench.disk.written[LOG_FILE] = whole + pack(len(whole), type_, content)
    with pytest.raises(CorruptLog, match=problem):
        bench.open()


# -- any run of calls, power lost at any moment --------------------------------------------------

calls = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 3), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("compact"), st.integers(0, 5)),
    st.tuples(st.just("install"), st.integers(1, 9), st.integers(0, 2)),
    st.tuples(st.just("finish")),
)


class Model:
    """What the log should hold after each record of each call."""

    def __init__(self):
        self.stored = Stored()
        self.states = [self.stored]
        self.term = 0

    def put(self, **changes):
        self.stored = msgspec.structs.replace(self.stored, **changes)

    def mark(self):
        self.states.append(self.stored)

    @property
    def base(self):
        return self.stored.snapshot.meta.index

    def append(self, back, count):
        """Overwrite up to ``back`` entries with a later term; one state per record."""
        self.term += 1
        kept = self.stored.entries[: max(0, len(self.stored.entries) - back)]
        new = [entry(self.base + len(kept) + n + 1, self.term) for n in range(count)]
        for position, one in enumerate(new):
            self.put(entries=(*kept, *new[:position], one))
            self.mark()
        hard = HardState(self.term, "n1", self.base)
        self.put(hard_state=hard)
        self.mark()
        return hard, new


@settings(max_examples=300, deadline=None)
@given(script=st.lists(calls, max_size=25), torn=st.integers(0, 200))
def test_power_loss_at_any_moment_finds_a_prefix_that_holds_all_that_was_told(
    new_disk, script, torn
):
    bench, model = Bench(new_disk), Model()
    bench.open()
    bench.finish()
    told = [0]

    def done():
        mark = len(model.states) - 1
        return lambda: told.__setitem__(0, max(told[0], mark))

    for call in script:
        if call[0] == "append":
            hard, entries = model.append(call[1], call[2])
            bench.wal.append(hard, entries, sync=True, done=done())
            if call[3]:
                bench.finish(1)
        elif call[0] == "compact":
            index = model.base + min(call[1], len(model.stored.entries))
            if index == 0:
                continue
            shot = snapshot(index, model.term)
            model.put(snapshot=shot, entries=model.stored.entries[index - model.base :])
            model.mark()
            bench.wal.compact(shot, done())
        elif call[0] == "install":
            shot = snapshot(model.base + len(model.stored.entries) + call[1], model.term)
            model.put(snapshot=shot, entries=())
            _, entries = model.append(0, call[2])
            bench.wal.install(shot, model.stored.hard_state, entries, done())
        else:
            bench.finish(1)
    assert bench.wal.stored() == model.stored
    bench.queue.clear()
    bench.disk.lose_power(torn)
    assert bench.open() in model.states[told[0] :]


def test_examples_in_docstrings():
    for module in (records, logfile, wal):
        assert doctest.testmod(module).failed == 0
