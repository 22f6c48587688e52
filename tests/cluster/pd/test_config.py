"""What a member of PD can be told, and what it refuses."""

from __future__ import annotations

import pytest

from splitbrain.cluster.pd.config import PD_KNOBS, PdConfig
from splitbrain.errors import RequestError

THREE = ("n1", "n2", "n3")


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"node": "n4"}, "no member"),
        ({"scale": 0.0}, "scale"),
        ({"scale": 0.0001}, "scale"),
        ({"replicas": 0}, "replicas"),
        ({"store_down_s": 1.0}, "disconnected"),
    ],
)
def test_what_can_never_work_is_refused(wrong, word):
    with pytest.raises(RequestError, match=word):
        PdConfig(**{"node": "n1", "nodes": THREE, **wrong})


def test_every_knob_is_a_field_and_can_be_set_by_words():
    config = PdConfig(node="n1", nodes=THREE)
    words = {"location-labels": "dc,rack", "joint-changes": "false"}
    words |= {"balance-leaders": "false", "balance-regions": "false"}
    for name in PD_KNOBS:
        value = words.get(name, "70" if name.endswith("-s") else "7")
        changed = config.with_options({name: value, "entries-per-append": 1})
        assert changed != config, name
    with pytest.raises(RequestError, match="id_block"):
        config.with_options({"id-block": "many"})
