"""Storms over many seeds."""

from __future__ import annotations

from collections import Counter

import pytest

from .region_storm import RegionStorm


def run(new_world, seeds, steps=250, **options):
    seen: Counter[str] = Counter()
    for seed in seeds:
        try:
            seen += RegionStorm(new_world, seed, **options).run(steps)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    return seen


@pytest.mark.parametrize("chunk", range(4))
def test_regions_survive(new_world, chunk):
    seen = run(new_world, range(chunk * 5, chunk * 5 + 5))
    # A storm in which nothing happens proves nothing.
    assert seen["write-ok"] > 250
    assert seen["read-ok"] > 120
    assert seen["splits"] > 3
    assert seen["changes"] > 6
    assert seen["regions"] > 6
    assert seen["EpochNotMatch"] > 10


@pytest.mark.deep
@pytest.mark.parametrize("chunk", range(20))
def test_regions_survive_for_long(new_world, chunk):
    run(new_world, range(1000 + chunk * 10, 1010 + chunk * 10), steps=500)
