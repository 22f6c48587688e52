"""Pruning: limits are kept, and no evidence, nothing unfinished and nothing foreign is touched."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.checkers.verdict import Result, Verdict
from splitbrain.contracts.spec import TestSpec
from splitbrain.results.drill.record import DrillRecord, ScenarioRecord, Status
from splitbrain.results.prune import Entry, Keep, choose, prune, survey

NOW = datetime(2026, 11, 25, tzinfo=UTC)
NOW_S = NOW.timestamp()
DAY = 86400.0

ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 40),
        st.integers(0, 100),
        st.sampled_from(["valid", "unknown", "invalid"]),
        st.booleans(),
    ),
    max_size=25,
)
KEEPS = st.builds(
    Keep,
    runs=st.none() | st.integers(1, 5),
    days=st.none() | st.integers(0, 30),
    size_bytes=st.none() | st.integers(0, 800),
)


def entries_of(rows: list[tuple[str, int, int, str, bool]]) -> list[Entry]:
    return [
        Entry(
            path=Path(f"store/{group}/{number}"),
            group=group,
            time_s=NOW_S - age * DAY / 2,
            size_bytes=size,
            failed=verdict != "valid",
            invalid=verdict == "invalid",
            pointed=pointed and number % 7 == 0,
        )
        for number, (group, age, size, verdict, pointed) in enumerate(rows)
    ]


def newest(entries: list[Entry]) -> Entry | None:
    return max(entries, key=lambda one: (one.time_s, str(one.path)), default=None)


@given(ENTRIES, KEEPS, st.integers(0, 200))
def test_the_laws_of_choosing(
    rows: list[tuple[str, int, int, str, bool]], keep: Keep, other_bytes: int
) -> None:
    entries = entries_of(rows)
    going = choose(entries, keep, now_s=NOW_S, other_bytes=other_bytes)
    stays = [one for one in entries if one not in going]
    safe = [one for one in entries if one.pointed]
    for group in {one.group for one in entries}:
        own = [one for one in entries if one.group == group]
        safe += filter(
            None,
            [
                newest(own),
                newest([one for one in own if one.failed]),
                newest([one for one in own if one.invalid]),
            ],
        )
    assert not set(map(id, safe)) & set(map(id, going)), "never the latest failure"
    for one in stays:
        if one in safe:
            continue
        newer = [two for two in entries if two.group == one.group and two.time_s > one.time_s]
        assert keep.runs is None or len(newer) < keep.runs
        assert keep.days is None or NOW_S - one.time_s <= keep.days * DAY
    held = other_bytes + sum(one.size_bytes for one in stays)
    if keep.size_bytes is not None and held > keep.size_bytes:
        assert all(one in safe for one in stays), "all that may go has gone"
    if keep == Keep():
        assert not going
    if keep.size_bytes is not None and keep.runs is None and keep.days is None and going:
        last = going[-1]
        assert held + last.size_bytes > keep.size_bytes, "no more than needed"
    assert list(going) == sorted(going, key=lambda one: (one.time_s, str(one.path)))


def stamp(age_days: float) -> str:
    return (NOW - timedelta(days=age_days)).strftime("%Y%m%dT%H%M%S.%f")[:-3]


def make_run(
    store: Path,
    age_days: float,
    verdict: Verdict | None = "valid",
    *,
    workload: str = "register",
    bugs: tuple[str, ...] = (),
) -> Path:
    directory = store / workload / stamp(age_days)
    directory.mkdir(parents=True)
    spec = TestSpec(workload=workload, bugs=bugs)
    (directory / "spec.json").write_bytes(msgspec.json.encode(spec))
    (directory / "history.jsonl").write_bytes(b"x" * 1000)
    (directory / "logs").mkdir()
    (directory / "logs" / "n1.log").write_bytes(b"y" * 500)
    if verdict is not None:
        result = Result(verdict=verdict, summary="s")
        (directory / "result.json").write_bytes(msgspec.json.encode(result))
        (directory / "report.html").write_text("<html>")
    return directory


def make_drill(
    store: Path, age_days: float, status: Status = "passed", *, finished: bool = True
) -> Path:
    directory = store / "drills" / "smoke" / stamp(age_days)
    directory.mkdir(parents=True)
    make_run(directory / "runs", age_days)
    record = DrillRecord(
        name="smoke", finished=finished, scenarios=(ScenarioRecord(name="a", status=status),)
    )
    (directory / "drill.json").write_bytes(msgspec.json.encode(record))
    return directory


@pytest.fixture
def store(tmp_path: Path) -> Path:
    store = tmp_path / "drills"  # a store may be called so, too
    store.mkdir()
    return store


def test_old_runs_and_drills_go_as_a_whole(store: Path) -> None:
    kept = [
        make_run(store, 1),
        make_run(store, 2, "invalid", bugs=("ack-on-append",)),
        make_run(store, 3, "unknown"),
        make_run(store, 5, "invalid"),
        make_drill(store, 1),
        make_drill(store, 4, "failed"),
        make_run(store, 40, workload="bank"),
    ]
    gone = [
        make_run(store, 4),
        make_run(store, 6, "invalid"),
        make_run(store, 7, "invalid", bugs=("ack-on-append",)),
        make_drill(store, 5, "failed"),
        make_drill(store, 6),
    ]
    (store / "latest").symlink_to(kept[0].relative_to(store))
    keep = Keep(runs=1)
    dry = prune(store, keep, now_s=NOW_S, dry_run=True)
    assert {entry.path for entry in dry.removed} == set(gone)
    assert all(path.is_dir() for path in gone)
    pruned = prune(store, keep, now_s=NOW_S)
    assert pruned == dry
    assert pruned.size_bytes > 5 * 1500
    assert all((path / "spec.json").exists() or (path / "drill.json").exists() for path in kept)
    assert not any(path.exists() for path in gone)
    assert prune(store, keep, now_s=NOW_S).removed == ()


def test_what_latest_points_to_stays(store: Path) -> None:
    old, new = make_run(store, 9), make_run(store, 1)
    (store / "latest").symlink_to(old.relative_to(store))
    assert prune(store, Keep(days=2, runs=1), now_s=NOW_S).removed == ()
    assert old.is_dir()
    assert new.is_dir()


def test_what_is_not_finished_or_not_ours_is_told_and_left(store: Path, tmp_path: Path) -> None:
    whole = [make_run(store, 1), make_run(store, 50)]
    running = make_run(store, 40, None)
    judged = make_run(store, 41)
    (judged / "report.html").unlink()
    newer = make_run(store, 42)
    spec = json.loads((newer / "spec.json").read_text())
    (newer / "spec.json").write_text(json.dumps({**spec, "format": 99}))
    torn = make_run(store, 43)
    (torn / "spec.json").write_bytes(b'{"workl')
    garbled = make_run(store, 44)
    (garbled / "result.json").write_bytes(b"\xff")
    renamed = make_run(store, 45).rename(store / "register" / "the-one-of-june")
    no_date = make_run(store, 46).rename(store / "register" / "20269999T000000.000")
    notes = store / "register" / "notes"
    notes.mkdir()
    (notes / "mine.txt").write_text("x")
    half, killed = make_drill(store, 47), make_drill(store, 48, finished=False)
    (half / "drill.json").unlink()
    outside = make_run(tmp_path / "outside", 49)
    (store / "register" / stamp(49)).symlink_to(outside)
    left = [running, judged, newer, torn, garbled, renamed, no_date, notes, half, killed]

    pruned = prune(store, Keep(runs=1, days=1, size_bytes=0), now_s=NOW_S)
    assert [entry.path for entry in pruned.removed] == [whole[1]]
    assert all(path.is_dir() for path in [*left, outside, whole[0]])
    for path in left:
        assert any(line.startswith(f"{path}: ") for line in pruned.left), path
    assert len(pruned.left) == len(left), pruned.left
    assert "newer splitbrain" in next(line for line in pruned.left if str(newer) in line)


def test_what_a_killed_pruning_left_goes(store: Path) -> None:
    make_run(store, 1)
    remains = make_run(store, 9).rename(store / "register" / f".pruned-{stamp(9)}")
    assert [entry.path.name for entry in survey(store)[0]] == [stamp(1)]
    prune(store, Keep(runs=3), now_s=NOW_S, dry_run=True)
    assert remains.exists()
    prune(store, Keep(runs=3), now_s=NOW_S)
    assert not remains.exists()


def test_what_cannot_be_removed_is_told(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    make_run(store, 1)
    old = make_run(store, 9)
    monkeypatch.setattr(Path, "rename", refuse)
    pruned = prune(store, Keep(runs=1), now_s=NOW_S)
    assert pruned.removed == ()
    assert pruned.left == (f"{old}: cannot be removed: Permission denied",)
    assert old.is_dir()


def test_no_store_is_no_hindrance(tmp_path: Path) -> None:
    assert prune(tmp_path / "nowhere", Keep(runs=1), now_s=NOW_S).removed == ()
