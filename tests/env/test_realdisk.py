"""The real disk: what is durable when, in which order it is told, and what a death costs."""

from __future__ import annotations

import errno
import os
import queue
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splitbrain.env import realdisk
from splitbrain.env.random import Random
from splitbrain.env.realdisk import RealDisk


class Bench:
    """A disk whose completions wait until the test asks for them, as on an event loop."""

    def __init__(self, directory: Path, *, power: bool = False) -> None:
        self.queue: queue.Queue[Callable[[], None]] = queue.Queue()
        self.disk = RealDisk(str(directory), self.queue.put, power=power)
        self.done: list[tuple[str, Exception | None]] = []

    def note(self, label: str) -> Callable[[Exception | None], None]:
        return lambda error: self.done.append((label, error))

    def wait(self, count: int) -> list[str]:
        """Deliver until ``count`` completions were told."""
        while len(self.done) < count:
            self.queue.get(timeout=5)()
        return [label for label, _ in self.done]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*, power: bool = False) -> Bench:
        made.append(Bench(tmp_path / "data", power=power))
        return made[-1]

    yield make
    for each in made:
        each.disk.close()


def test_plain_appends_reach_the_file_at_once(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    one = bench()
    one.disk.append("log", b"abc")
    assert (tmp_path / "data" / "log").read_bytes() == b"abc"
    assert one.disk.read("log") == b"abc"
    assert one.disk.files() == ("log",)


def test_power_appends_reach_the_file_at_fsync(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    one = bench(power=True)
    one.disk.append("log", b"abc")
    assert not (tmp_path / "data" / "log").exists()
    assert one.disk.read("log") == b"abc"
    one.disk.fsync("log", one.note("f"))
    one.disk.append("log", b"def")
    one.wait(1)
    assert (tmp_path / "data" / "log").read_bytes() == b"abc"
    assert one.disk.read("log") == b"abcdef"


def test_completions_come_in_the_order_of_requests(bench: Callable[..., Bench]) -> None:
    one = bench()
    labels = []
    for number in range(50):
        name = "ab"[number % 2]
        one.disk.append(name, b"x")
        label = f"{name}{number}"
        labels.append(label)
        if number % 7 == 3:
            one.disk.replace(name, b"fresh", one.note(label))
        else:
            one.disk.fsync(name, one.note(label))
    assert one.wait(50) == labels
    assert all(error is None for _, error in one.done)


def test_requests_that_wait_share_a_sync(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.disk.extra_ms = 30
    for number in range(40):
        one.disk.append("log", b"x")
        one.disk.fsync("log", one.note(str(number)))
    one.wait(40)
    counts = one.disk.counts()
    assert counts.fsyncs == 40
    assert counts.syncs <= 4


def test_replace_is_whole_and_leaves_no_temporary_file(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    one = bench()
    one.disk.append("state", b"old")
    one.disk.replace("state", b"new", one.note("r"))
    one.disk.append("state", b"+tail")
    one.disk.fsync("state", one.note("f"))
    one.disk.append("state", b"+more")
    assert one.wait(2) == ["r", "f"]
    assert one.disk.read("state") == b"new+tail+more"
    assert sorted(os.listdir(tmp_path / "data")) == ["state"]


def test_a_temporary_file_of_a_killed_node_is_swept(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "state.new").write_bytes(b"half")
    assert bench().disk.files() == ()
    assert os.listdir(tmp_path / "data") == []


@pytest.mark.parametrize("power", [False, True])
def test_remove_then_append_starts_afresh(
    bench: Callable[..., Bench], tmp_path: Path, power: bool
) -> None:
    one = bench(power=power)
    one.disk.append("a", b"old")
    one.disk.fsync("a", one.note("f"))
    one.disk.remove("a")
    assert one.disk.files() == ()
    assert one.disk.read("a") == b""
    one.disk.append("a", b"new")
    assert one.disk.read("a") == b"new"
    one.disk.fsync("a", one.note("g"))
    one.wait(2)
    assert (tmp_path / "data" / "a").read_bytes() == b"new"
    one.disk.remove("a")
    one.disk.fsync("b", one.note("h"))
    one.wait(3)
    assert os.listdir(tmp_path / "data") == ["b"]


def test_in_power_mode_a_remove_is_durable_with_the_next_sync_only(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    one = bench(power=True)
    one.disk.append("a", b"old")
    one.disk.fsync("a", one.note("f"))
    one.wait(1)
    one.disk.remove("a")
    assert one.disk.read("a") == b""
    assert (tmp_path / "data" / "a").exists()
    one.disk.fsync("b", one.note("g"))
    one.wait(2)
    assert not (tmp_path / "data" / "a").exists()


def test_tear_passes_on_a_true_prefix_and_nothing_more(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    one = bench(power=True)
    one.disk.append("log", b"durable.")
    one.disk.fsync("log", one.note("f"))
    one.wait(1)
    one.disk.append("log", b"0123456789")
    told = one.disk.tear(Random(5).stream("tear"))
    on_disk = (tmp_path / "data" / "log").read_bytes()
    assert on_disk == b"durable." + b"0123456789"[: int(told["kept"])]
    assert told["kept"] + told["lost"] == 10  # type: ignore[operator]
    assert told["lost"] != 0
    one.disk.fsync("log", one.note("never"))
    one.disk.append("log", b"never")
    with pytest.raises(queue.Empty):
        one.queue.get(timeout=0.2)
    assert (tmp_path / "data" / "log").read_bytes() == on_disk


def test_tear_takes_bytes_of_an_fsync_under_way(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    kept = set()
    for seed in range(8):
        directory = tmp_path / str(seed)
        one = Bench(directory, power=True)
        one.disk.extra_ms = 200
        one.disk.append("log", b"0123456789")
        one.disk.fsync("log", one.note("f"))
        told = one.disk.tear(Random(seed).stream("tear"))
        one.disk.close()
        content = (directory / "log").read_bytes() if (directory / "log").exists() else b""
        assert content == b"0123456789"[: int(told["kept"])]
        assert not one.done
        kept.add(told["kept"])
    assert len(kept) > 2


def test_tear_leaves_alone_what_was_synced_a_moment_ago(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    one = bench(power=True)
    path = tmp_path / "data" / "log"
    one.disk.extra_ms = 100
    one.disk.append("log", b"0123456789")
    one.disk.fsync("log", one.note("f"))
    time.sleep(0.03)  # the worker has taken it up, and waits
    with one.disk._wake:  # it does its act, and cannot yet say so
        while not (path.exists() and path.read_bytes()):
            time.sleep(0.001)
        told = one.disk.tear(Random(5).stream("tear"))
    assert told == {"file": "", "kept": 0, "lost": 0}
    assert path.read_bytes() == b"0123456789"


def test_the_first_sync_of_a_life_makes_the_names_of_the_last_one_durable(
    bench: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename that a killed process did not come to sync is seen, but may be lost with power."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "log").write_bytes(b"renamed here, then killed")
    synced: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(_name_of(fd)))
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(_name_of(fd)))
    one = bench()
    one.disk.fsync("log", one.note("f"))
    one.wait(1)
    assert synced == ["log", "data"]
    one.disk.fsync("log", one.note("g"))
    one.wait(2)
    assert synced == ["log", "data", "log"]


def _name_of(descriptor: int) -> str:
    return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name


def test_tear_needs_power_mode_and_says_so(bench: Callable[..., Bench]) -> None:
    with pytest.raises(ValueError, match="power: true"):
        bench().disk.tear(random.Random(1))


def test_errors_of_append_are_told_by_the_next_fsync(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = bench()

    def full(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(realdisk.os, "write", full)
    one.disk.append("log", b"abc")
    one.disk.fsync("log", one.note("f"))
    one.wait(1)
    error = one.done[0][1]
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOSPC
    monkeypatch.undo()
    one.disk.append("log", b"abc")
    one.disk.fsync("log", one.note("g"))
    one.wait(2)
    assert one.done[1] == ("g", None)


def test_errors_of_fsync_are_told_to_all_who_shared_it(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = bench(power=True)

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(realdisk.os, "fdatasync", broken)
    one.disk.extra_ms = 20
    for label in "abc":
        one.disk.append("log", b"x")
        one.disk.fsync("log", one.note(label))
    one.wait(3)
    assert [getattr(error, "errno", None) for _, error in one.done] == [errno.EIO] * 3


def test_slow_disk_delays_each_sync(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.disk.extra_ms = 80
    one.disk.fsync("log", one.note("f"))
    with pytest.raises(queue.Empty):
        one.queue.get(timeout=0.05)
    one.wait(1)


def test_a_directory_without_permission_is_told(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        RealDisk(str(blocked / "data"), lambda _: None)


acts = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "fsync", "replace", "remove", "wait"]),
        st.sampled_from("ab"),
        st.binary(min_size=1, max_size=4),
    ),
    max_size=40,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(acts=acts, power=st.booleans())
def test_it_behaves_like_a_dictionary_of_bytes(
    acts: list[tuple[str, str, bytes]], power: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Against the dumb twin, also after a death at the end: plain keeps all, power what was synced."""
    directory = tmp_path_factory.mktemp("disk")
    one = Bench(directory, power=power)
    twin: dict[str, bytes] = {}
    asked = 0
    for act, name, data in acts:
        if act == "append":
            one.disk.append(name, data)
            twin[name] = twin.get(name, b"") + data
        elif act == "fsync":
            one.disk.fsync(name, one.note(name))
            twin.setdefault(name, b"")
            asked += 1
        elif act == "replace":
            one.disk.replace(name, data, one.note(name))
            twin[name] = data
            asked += 1
        elif act == "remove":
            one.disk.remove(name)
            twin.pop(name, None)
        else:
            one.wait(asked)
            for each in "ab":
                assert one.disk.read(each) == twin.get(each, b"")
    assert one.disk.files() == tuple(sorted(twin))
    for name in tuple(twin):
        one.disk.fsync(name, one.note(name))
        asked += 1
    one.wait(asked)
    one.disk.close()
    while not one.queue.empty():
        one.queue.get()()
    again = RealDisk(str(directory), lambda _: None)
    assert {name: again.read(name) for name in again.files() if name in twin} == twin
    if not power:
        assert again.files() == tuple(sorted(twin))
    again.close()
