"""Run directories: never colliding, whole or readable, and told in one line when they are not."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec
import pytest

from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.contracts.spec import FORMAT, ScheduledFault, TestSpec
from splitbrain.errors import HostError, MalformedFile, NewerStore
from splitbrain.history.op import Op
from splitbrain.results import runs
from splitbrain.results.runs import RunRecorder, create_run, is_run, read_run, write_result

SPEC = TestSpec(
    workload="register",
    seed=7,
    options={"scale": 0.5, "lease-reads": True, "read-from": "leader", "keys": 3},
    schedule=(ScheduledFault(time_ns=5, f="start-kill", targets=("n1",), id="k"),),
)


def an_op(index: int, type_: str, **more: object) -> Op:
    return Op(
        index=index,
        time_ns=index * 10,
        process=0,
        type=type_,
        f="write",
        key=1,
        value=3,
        **more,
    )  # type: ignore[arg-type]


def test_runs_of_one_moment_do_not_collide(tmp_path: Path) -> None:
    made: list[Path] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        made.extend(create_run(tmp_path, SPEC) for _ in range(25))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 200
    assert all(read_run(path).spec == SPEC for path in made)
    assert (tmp_path / "latest").resolve() in {path.resolve() for path in made}
    assert not list(tmp_path.glob(".*")), "nothing half made is left"


def test_latest_points_to_the_newest_and_moves_with_the_store(tmp_path: Path) -> None:
    store = tmp_path / "store"
    create_run(store, SPEC)
    newest = create_run(store, msgspec.structs.replace(SPEC, workload="cas-register"))
    assert (store / "latest").resolve() == newest
    store.rename(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "latest" / "spec.json").exists()


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = create_run(tmp_path, SPEC)
    recorder = RunRecorder(path)
    ops = [an_op(0, "invoke"), an_op(1, "info", error="timeout: late")]
    for op in ops:
        recorder.op(op)
    fault = ScheduledFault(time_ns=1, f="start-kill", targets=("n2",), id="x")
    recorder.fault(fault)
    recorder.event({"time_ns": 3, "node": "n1", "kind": "leader"})
    assert len(read_run(path).history) == 0, "nothing is on disk before a flush"
    recorder.flush()
    assert list(read_run(path).history) == ops
    recorder.close()
    (path / "logs" / "n1.log").write_text("".join(f"line {n}\n" for n in range(100)))
    (path / "logs" / "n2.log").write_bytes(b"\xff broken \n" * 9000)
    run = read_run(path)
    assert run.spec == SPEC
    assert run.faults == (fault,)
    assert run.events == ({"time_ns": 3, "node": "n1", "kind": "leader"},)
    assert run.operations == 1
    assert run.seconds == 10 / 1e9
    assert run.log_tails["n1"][-1] == "line 99"
    assert len(run.log_tails["n1"]) == len(run.log_tails["n2"]) == 40
    assert run.result is None
    assert not run.notes


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = create_run(tmp_path, SPEC)
    part = Result(
        verdict="invalid", summary="a stale read", kernel="zones", stats={"n": 1, "share": 0.5},
        anomalies=(
            Anomaly(kind="stale", explanation="why", ops=(3, 4), key="k", picture={"a": [1]}),
        ),
    )  # fmt: skip
    result = Result(
        verdict="invalid", summary="both", assumed=("a",), undecided=("key 3",),
        anomalies=part.anomalies, checkers={"linearizable": part},
    )  # fmt: skip
    write_result(path, result)
    assert read_run(path).result == result
    unknown = Result(verdict="unknown", summary="cut", reason="unfinished")
    write_result(path, unknown)
    assert read_run(path).result == unknown
    assert not list(path.glob(".*"))


def test_a_result_that_cannot_be_read_is_passed_over_with_a_note(tmp_path: Path) -> None:
    path = create_run(tmp_path, SPEC)
    RunRecorder(path).close()
    (path / "result.json").write_text('{"verdict":"maybe"}')
    run = read_run(path)
    assert run.result is None
    assert "result.json cannot be read and is passed over" in run.notes[0]


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("history.jsonl", "{}\n{nonsense\n", "history.jsonl:1: "),
        ("faults.jsonl", '{"time_ns":1,"f":"start-kill"}\n{"time_ns":1}\n', "faults.jsonl:2: "),
        ("events.jsonl", "[]\n", "events.jsonl:1: "),
        ("events.jsonl", "{}\n{\n", "events.jsonl:2: "),
    ],
)
def test_a_malformed_line_is_told_by_file_and_line(
    name: str, text: str, where: str, tmp_path: Path
) -> None:
    path = create_run(tmp_path, SPEC)
    (path / name).write_text(text)
    with pytest.raises(MalformedFile) as caught:
        read_run(path)
    assert where in str(caught.value)


def test_a_torn_last_line_is_dropped_with_a_note(tmp_path: Path) -> None:
    path = create_run(tmp_path, SPEC)
    whole = b'{"time_ns":1,"f":"start-kill"}\n'
    for name in ("faults.jsonl", "events.jsonl"):
        (path / name).write_bytes(whole + whole[:7])
    (path / "history.jsonl").write_bytes(msgspec.json.encode(an_op(0, "invoke")) + b'\n{"ind')
    run = read_run(path)
    assert (len(run.history), len(run.faults), len(run.events)) == (1, 1, 1)
    assert len(run.notes) == 3


def test_a_spec_of_a_newer_version_is_refused_whatever_else_it_holds(tmp_path: Path) -> None:
    path = create_run(tmp_path, SPEC)
    newer = {**msgspec.to_builtins(SPEC), "format": FORMAT + 1, "nodes": "all"}
    (path / "spec.json").write_bytes(msgspec.json.encode(newer))
    with pytest.raises(NewerStore, match="upgrade splitbrain") as caught:
        read_run(path)
    assert caught.value.exit_code == 2


def test_a_directory_without_a_spec_is_no_run(tmp_path: Path) -> None:
    assert not is_run(tmp_path)
    assert not is_run(tmp_path / "nowhere")
    with pytest.raises(MalformedFile, match="not a run directory"):
        read_run(tmp_path)


@pytest.mark.parametrize("in_the_way", ["", "register", "latest/x"])
def test_something_in_the_way_of_a_run_is_one_line(in_the_way: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    obstacle = store / in_the_way if in_the_way else store
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.write_text("a file")
    with pytest.raises(
        HostError, match=r"cannot make a run directory below .*--store DIR"
    ) as caught:
        create_run(store, SPEC)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.json"
    runs.write_bytes(path, b"old")

    def full(self: Path, target: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(HostError, match="No space left on device"):
        runs.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_every_file_is_closed_though_one_cannot_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = create_run(tmp_path, SPEC)
    before = set(os.listdir("/proc/self/fd"))
    recorder = RunRecorder(path)
    for _ in range(2):
        recorder.event({"kind": "leader"})
        recorder.op(an_op(0, "invoke"))

    def full(_fd: int, _data: object) -> int:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(HostError, match="No space left on device"):
            recorder.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_behind_a_torn_line_nothing_is_written_though_space_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = create_run(tmp_path, SPEC)
    recorder = RunRecorder(path)
    recorder.op(an_op(0, "invoke"))
    recorder.flush()
    recorder.op(an_op(1, "ok"))
    real = os.write
    room = [9]

    def nearly_full(fd: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(28, os.strerror(28))
        written = real(fd, data[: room[0]])
        room[0] -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", nearly_full)
        with pytest.raises(HostError, match="No space left on device"):
            recorder.flush()
    recorder.op(an_op(2, "invoke"))
    recorder.close()
    run = read_run(path)
    assert [op.index for op in run.history] == [0]
    assert len(run.notes) == 1
