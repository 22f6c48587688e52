"""A run in sim is one function of its spec: the same bytes in any process, on any heap."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import campaign
import pytest
from campaign import Order, differences, twice

SINFUL = str(Path(__file__).parent / "sinful.py")

PROGRAM = """
import sys
from splitbrain.cli import main
kept = [[str(number)] for number in range(int(sys.argv.pop(1)))][::2]
main(sys.argv[1:])
"""
COMMAND = (
    "run",
    "register",
    "--on",
    "sim",
    "--nemesis",
    "all",
    "--time-limit",
    "10",
    "--seed",
    "5",
)


def by_command(store: Path, objects: int, hash_seed: str) -> dict[str, str]:
    """``splitbrain run``, as a user types it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(objects), *COMMAND, "--store", str(store)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode in (0, 3), done.stdout + done.stderr
    run = store / "latest"
    return {
        name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in campaign.FILES
    }


def test_the_command_repeats_a_run_byte_for_byte(tmp_path: Path) -> None:
    first = by_command(tmp_path / "a", 8_000, "0")
    assert by_command(tmp_path / "b", 8_000 * 64, "random") == first
    assert all((tmp_path / "a" / "latest" / name).stat().st_size for name in campaign.FILES)


def test_seeds_differ(tmp_path: Path) -> None:
    order = Order(
        store=str(tmp_path),
        workload="cas-register",
        seeds=(1, 2, 3),
        time_limit_s=5,
    )
    told = campaign.told(campaign.start(order, "0"))
    for name in campaign.FILES:
        assert len({one.hashes[name] for one in told.values()}) == 3


@pytest.mark.parametrize("sin", ["by-id", "by-set-order", "by-clock"])
def test_the_comparison_sees_a_plug_in_that_breaks_determinism(
    tmp_path: Path, sin: str
) -> None:
    assert differences(*twice(_sinful(tmp_path, sin)))


def test_the_comparison_sees_nothing_in_the_same_plug_in_without_the_sin(
    tmp_path: Path,
) -> None:
    assert differences(*twice(_sinful(tmp_path, "innocent"))) == []


def _sinful(store: Path, workload: str) -> Order:
    return Order(
        store=str(store),
        workload=workload,
        seeds=(1, 2),
        megabytes=1,
        nemesis=("partition",),
        time_limit_s=4,
        load=(SINFUL,),
    )
