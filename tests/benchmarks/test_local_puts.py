"""The benchmark of puts gives a figure only where a majority synced before each acknowledgement."""

from __future__ import annotations

import importlib.util
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "local_puts.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_local_puts", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("syncs", "early"),
    [
        ({"a": [(12, 18)], "b": [(13, 19)], "c": []}, False),
        ({"a": [(10, 20)], "b": [(10, 20)], "c": []}, False),  # at both ends
        ({"a": [(12, 18)], "b": [], "c": []}, True),
        (
            {"a": [(12, 18)], "b": [(9, 15)], "c": []},
            True,
        ),  # begun before the put was asked for
        ({"a": [(12, 18)], "b": [(15, 21)], "c": []}, True),  # ended after the acknowledgement
        ({"a": [(12, 18)], "b": [(2, 14), (11, 15), (12, 30)], "c": []}, False),
        (
            {"a": [(12, 18)], "b": [(11, 13), (5, 19)], "c": []},
            False,
        ),  # an older one ended later
        ({"a": [(12, 18), (13, 19)], "b": [(2, 3)], "c": [(40, 50)]}, True),
    ],
)
def test_a_put_needs_syncs_between_asking_and_acknowledgement(
    bench: ModuleType, syncs: dict[str, list[tuple[int, int]]], early: bool
) -> None:
    put = bench.Put(asked_ns=10, acked_ns=20)
    assert bench.unsynced([put], syncs, 2) == ([put] if early else [])


@pytest.mark.skipif(
    shutil.which("cc") is None, reason="needs a C compiler: apt-get install gcc"
)
def test_the_library_sees_each_sync_of_a_process(bench: ModuleType, tmp_path: Path) -> None:
    library = bench.build_watch(tmp_path)
    program = (
        "import os, time\n"
        "file = os.open('data', os.O_WRONLY | os.O_CREAT)\n"
        "for sync in (os.fsync, os.fdatasync, os.fdatasync):\n"
        "    os.write(file, b'x')\n"
        "    print(time.monotonic_ns()); sync(file); print(time.monotonic_ns())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={
            "LD_PRELOAD": str(library),
            "SYNC_LOG_DIR": str(tmp_path),
            "SPLITBRAIN_NODE": "n1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    around = [int(line) for line in done.stdout.split()]
    seen = bench.read_syncs(tmp_path / "n1")
    assert len(seen) == 3
    for number, (begin, end) in enumerate(seen):
        assert around[2 * number] <= begin <= end <= around[2 * number + 1]


def test_more_syncs_than_there_is_room_for_are_no_figure(
    bench: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "n1").write_bytes(struct.pack("<Q", bench.CAPACITY + 1))
    with pytest.raises(SystemExit, match="room for"):
        bench.read_syncs(tmp_path / "n1")


@pytest.mark.deep
@pytest.mark.processes
@pytest.mark.skipif(
    shutil.which("cc") is None, reason="needs a C compiler: apt-get install gcc"
)
@pytest.mark.parametrize(
    ("bugs", "code", "words"),
    [((), 0, "puts/s"), (("--bug", "ack-on-append"), 1, "NO FIGURE")],
)
def test_a_cluster_that_acknowledges_too_early_gets_no_figure(
    bugs: tuple[str, ...], code: int, words: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--seconds", "3", *bugs],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stdout
