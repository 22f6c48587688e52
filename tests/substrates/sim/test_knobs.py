"""Knobs: mostly plain, at times drawn otherwise, set by options, malformed ones refused."""

from __future__ import annotations

from collections import Counter

import pytest

from splitbrain.env.random import Random
from splitbrain.errors import RequestError
from splitbrain.substrates.sim.knobs import KNOBS, Knobs


def test_most_seeds_are_plain_and_all_values_occur() -> None:
    drawn = [Knobs.drawn(Random(seed), {}) for seed in range(400)]
    for field in Knobs.__struct_fields__:
        values = Counter(getattr(each, field) for each in drawn)
        plain = getattr(Knobs(), field)
        assert values.most_common(1)[0][0] == plain
        assert len(values) > 1
        assert values[plain] > 240


def test_an_option_sets_one_and_leaves_the_other_draws() -> None:
    for seed in range(50):
        free = Knobs.drawn(Random(seed), {})
        bound = Knobs.drawn(Random(seed), {"sim-delay-ms": 7, "other": "x"})
        assert bound.delay_ms == 7.0
        assert (bound.jitter_ms, bound.order) == (free.jitter_ms, free.order)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sim-delay-ms", "soon"),
        ("sim-jitter-ms", -1),
        ("sim-fsync-ms", 1e9),
        ("sim-order", "x"),
    ],
)
def test_a_malformed_one_is_refused_with_its_name(name: str, value: object) -> None:
    assert name in KNOBS
    with pytest.raises(RequestError, match=name):
        Knobs.drawn(Random(1), {name: value})
