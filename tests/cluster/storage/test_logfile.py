"""Many groups in one file: none is lost with another, whatever is under way when the power goes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from splitbrain.cluster.raft.types import Entry, EntryKind, HardState, Snapshot, SnapshotMeta
from splitbrain.cluster.storage.logfile import LogFile, Stored

GROUPS = (1, 2, 3)

calls = st.one_of(
    st.tuples(st.just("append"), st.sampled_from(GROUPS), st.integers(1, 3)),
    st.tuples(st.just("compact"), st.sampled_from(GROUPS), st.integers(1, 3)),
    st.tuples(st.just("install"), st.sampled_from(GROUPS), st.integers(1, 9)),
    st.tuples(st.just("begin"), st.sampled_from(GROUPS), st.integers(0, 5)),
    st.tuples(st.just("bury"), st.sampled_from(GROUPS), st.just(0)),
    st.tuples(st.just("finish"), st.just(1), st.integers(1, 2)),
)


def entry(index, term):
    return Entry(index, term, EntryKind.NORMAL, b"data")


def shot(index, term):
    return Snapshot(SnapshotMeta(index, term, ("n1",)), b"state")


class Bench:
    """A file on a disk whose operations complete when told to; and all states that it went through."""

    def __init__(self, new_disk):
        self.queue = []
        self.disk = new_disk(lambda delay, callback: self.queue.append(callback))
        self.file = LogFile(self.disk)
        self.file.open(lambda: None)
        self.file.start()
        self.finish(9)
        self.states = [self.file.stored()]
        self.told = 0
        self.term = 0

    def finish(self, steps):
        while self.queue and steps:
            self.queue.pop(0)()
            steps -= 1

    def done(self):
        mark = len(self.states)
        return lambda: setattr(self, "told", max(self.told, mark))

    def mark(self):
        self.states.append(self.file.stored())

    def call(self, kind, group, number):
        log = self.file.group(group)
        stored = log.stored()
        self.term += 1
        base = stored.snapshot.meta.index
        last = base + len(stored.entries)
        if kind == "finish":
            self.finish(number)
        elif kind == "begin":
            hard = HardState(self.term, "n1", number)
            log.begin(b"note %d" % self.term, shot(number, self.term), hard)
            self.mark()
        elif stored.buried:
            return
        elif kind == "bury":
            log.bury(b"gone")
            self.mark()
        elif kind == "append":
            for index in range(last + 1, last + number + 1):
                log.append(None, (entry(index, self.term),), sync=True, done=self.done())
                self.mark()
        elif kind == "compact" and last > base:
            log.compact(shot(min(base + number, last), self.term), self.done())
            self.mark()
        elif kind == "install":
            log.install(shot(last + number, self.term), HardState(self.term), (), self.done())
            self.mark()


def known(stored):
    """Without groups of which nothing was ever said."""
    return {number: one for number, one in stored.items() if one != Stored()}


@settings(max_examples=300, deadline=None)
@given(script=st.lists(calls, max_size=25), torn=st.integers(0, 200))
def test_power_loss_finds_one_moment_of_all_groups(new_disk, script, torn):
    bench = Bench(new_disk)
    for call in script:
        bench.call(*call)
    bench.queue.clear()
    bench.disk.lose_power(torn)
    found = LogFile(bench.disk)
    found.open(lambda: None)
    states = [known(one) for one in bench.states[bench.told :]]
    assert known(found.stored()) in states


def test_groups_share_their_syncs(new_disk):
    bench = Bench(new_disk)
    before = bench.disk.syncs
    done = []
    for group in GROUPS * 4:
        log = bench.file.group(group)
        index = len(log.stored().entries) + 1
        log.append(None, (entry(index, 1),), sync=True, done=lambda g=group: done.append(g))
    bench.finish(9)
    assert done == list(GROUPS * 4)
    assert bench.disk.syncs - before == 2


def test_a_buried_group_keeps_its_note_through_a_rewrite(new_disk):
    bench = Bench(new_disk)
    bench.call("begin", 1, 3)
    bench.call("bury", 1, 0)
    bench.call("begin", 2, 3)
    bench.call("install", 2, 4)
    bench.finish(9)
    again = LogFile(bench.disk)
    stored = again.open(lambda: None)
    assert stored[1] == Stored(note=b"gone", buried=True)
    assert stored[2].snapshot.meta.index == 7
