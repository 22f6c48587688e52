"""The same run again: in this process, in others, under another hash seed and another heap."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sim_story

STORY = Path(sim_story.__file__)
PLACES = (("0", 1), ("1", 17), ("4242", 64))
"""PYTHONHASHSEED, and megabytes that are allocated before the start."""


def elsewhere(seed: int, sin: str) -> list[str]:
    """What the story tells in a new process each."""
    told = []
    for hash_seed, megabytes in PLACES:
        done = subprocess.run(
            [sys.executable, str(STORY), str(seed), str(megabytes), sin],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        told.append(done.stdout.strip())
    return told


@pytest.mark.parametrize("seed", [1, 6])
def test_a_run_is_the_same_in_any_process(seed: int) -> None:
    here = sim_story.run(seed)
    assert int(here.split()[0]) > 1000  # there was something to differ in
    assert sim_story.run(seed) == here
    assert set(elsewhere(seed, "none")) == {here}


def test_another_seed_is_another_run() -> None:
    assert len({sim_story.run(seed) for seed in range(6)}) == 6


@pytest.mark.parametrize("sin", ["id", "set", "clock"])
def test_the_comparison_sees_what_breaks_determinism(sin: str) -> None:
    assert len(set(elsewhere(1, sin))) > 1


def test_the_knobs_are_drawn_from_the_seed_and_set_by_options() -> None:
    shuffled = {
        sim_story.run(3, options={"sim-order": order}) for order in ("time", "shuffled")
    }
    assert len(shuffled) == 2
