"""Streams: the same by seed and name, and their distributions by the moments.

A bound is six standard deviations of the estimate; the seed is fixed, so nothing here flakes.
"""

import collections
import doctest
import importlib
import math
import random

import pytest

from splitbrain.env.random import Random, Stream

DRAWS = 20_000


def stream(*names: object) -> Stream:
    return Random(11).stream("test", *names)


def near(values: list[float], mean: float, deviation: float) -> bool:
    """Their mean is within six standard errors."""
    found = sum(values) / len(values)
    return abs(found - mean) <= 6 * deviation / math.sqrt(len(values))


def test_the_examples() -> None:
    # The package's attribute of that name would do as well; this is the module by its path.
    assert doctest.testmod(importlib.import_module("splitbrain.env.random")).failed == 0


def test_equal_names_draw_alike_and_others_do_not() -> None:
    draws = {name: [stream(name).zipf(1000) for _ in range(1)] for name in range(50)}
    assert draws == {name: [stream(name).zipf(1000)] for name in range(50)}
    assert len({draw for (draw,) in draws.values()}) > 10


def test_a_stream_draws_what_python_s_own_generator_does() -> None:
    """Seeds that are on record keep their meaning."""
    ours, theirs = Stream(5), random.Random(5)
    for _ in range(100):
        assert ours.random() == theirs.random()
        assert ours.randint(0, 99) == theirs.randint(0, 99)
        assert ours.sample(range(9), 4) == theirs.sample(range(9), 4)


@pytest.mark.parametrize("skew", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("count", [1, 2, 10, 500])
def test_zipf(count: int, skew: float) -> None:
    draws = stream("zipf", count, skew)
    counts = collections.Counter(draws.zipf(count, skew) for _ in range(DRAWS))
    assert set(counts) <= set(range(count))
    whole = sum((rank + 1) ** -skew for rank in range(count))
    for rank in range(min(count, 10)):
        share = (rank + 1) ** -skew / whole
        deviation = math.sqrt(DRAWS * share * (1 - share))
        assert abs(counts[rank] - DRAWS * share) <= 6 * deviation


@pytest.mark.parametrize("mean", [1e-3, 1.0, 40.0])
def test_exponential(mean: float) -> None:
    draws = stream("exponential", mean)
    values = [draws.exponential(mean) for _ in range(DRAWS)]
    assert min(values) >= 0
    assert near(values, mean, mean)
    assert near([value**2 for value in values], 2 * mean**2, math.sqrt(20) * mean**2)


@pytest.mark.parametrize("chance", [0.01, 0.3, 0.9, 1.0])
def test_geometric(chance: float) -> None:
    draws = stream("geometric", chance)
    values = [draws.geometric(chance) for _ in range(DRAWS)]
    assert min(values) >= 1
    assert near([float(value) for value in values], 1 / chance, math.sqrt(1 - chance) / chance)
    assert near([float(value == 1) for value in values], chance, 0.5)


def test_weighted() -> None:
    draws = stream("weighted")
    weights = {"a": 5, "never": 0, "b": 0.5, "c": 4.5}
    counts = collections.Counter(draws.weighted(weights) for _ in range(DRAWS))
    assert counts["never"] == 0
    for name, weight in weights.items():
        share = weight / 10
        assert abs(counts[name] - DRAWS * share) <= 6 * math.sqrt(DRAWS * share * (1 - share))


def test_nonempty_subset() -> None:
    draws = stream("subset")
    subsets = [draws.nonempty_subset("abcd") for _ in range(DRAWS)]
    sizes = collections.Counter(len(subset) for subset in subsets)
    assert set(sizes) == {1, 2, 3, 4}
    deviation = math.sqrt(DRAWS * 0.25 * 0.75)
    assert all(abs(count - DRAWS / 4) <= 6 * deviation for count in sizes.values())
    assert all(len(set(subset)) == len(subset) for subset in subsets)
    first = collections.Counter(subset[0] for subset in subsets)
    assert all(abs(count - DRAWS / 4) <= 6 * deviation for count in first.values())


def test_shuffled() -> None:
    draws = stream("shuffled")
    items = ["x", "y", "z"]
    orders = collections.Counter(tuple(draws.shuffled(items)) for _ in range(DRAWS))
    assert items == ["x", "y", "z"]
    assert len(orders) == 6
    deviation = math.sqrt(DRAWS / 6 * 5 / 6)
    assert all(abs(count - DRAWS / 6) <= 6 * deviation for count in orders.values())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda draws: draws.zipf(0),
        lambda draws: draws.zipf(3, -1),
        lambda draws: draws.exponential(0),
        lambda draws: draws.geometric(0),
        lambda draws: draws.geometric(1.5),
        lambda draws: draws.weighted({}),
        lambda draws: draws.weighted({"a": 0}),
        lambda draws: draws.weighted({"a": 3, "b": -1}),
        lambda draws: draws.nonempty_subset([]),
    ],
)
def test_what_cannot_be_drawn_is_told(wrong) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"give|weight|no items"):
        wrong(stream())
