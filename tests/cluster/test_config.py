"""The store's configuration: what it refuses, and what a knob becomes."""

from __future__ import annotations

import pytest

from splitbrain.cluster.config import KNOBS, StoreConfig
from splitbrain.errors import RequestError, UnknownName

NODES = ("n1", "n2", "n3")


def config(**fields):
    return StoreConfig(node="n1", nodes=NODES, **fields)


def test_scale_multiplies_all_protocol_times():
    for scale in (1.0, 1 / 3, 0.1):
        raft = config(scale=scale).raft()
        assert raft.tick_ns == int(3e9 * scale) // 30
        assert raft.election_ticks * raft.tick_ns == pytest.approx(3e9 * scale)
        assert raft.heartbeat_ticks == 10
        assert raft.lease_ns == int(2e9 * scale)


def test_a_lease_that_no_clock_could_keep_is_refused():
    assert config(lease_reads=True).lease_drift_bound == pytest.approx(0.137, abs=0.001)
    with pytest.raises(RequestError, match="lease-reads"):
        config(lease_reads=True, lease_s=2.7)
    config(lease_s=2.7)  # nobody uses it
    # The bound is the exact edge of the inequality that it is made of.
    d = config().lease_drift_bound
    assert (3 - 0.1) / (1 + d) == pytest.approx(1.1 * 2 / (1 - d))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"scale": 0}, "scale"),
        ({"ticks_per_election": 29}, "ticks_per_election"),
        ({"entries_per_append": 0}, "entries_per_append"),
        ({"slow_apply_ms": -1.0}, "slow_apply_ms"),
        ({"election_timeouts": {"n1": 0.5}}, "n1=0.5"),
        ({"election_timeouts": {"n9": 1.5}}, "n9"),
        ({"assertions_off": ("commit-beyond-lost",)}, "did you mean commit-beyond-last"),
    ],
)
def test_what_can_never_work_is_refused_by_name(fields, named):
    with pytest.raises(RequestError, match=named):
        config(**fields)


def test_a_node_outside_the_cluster_is_refused():
    with pytest.raises(RequestError, match="'n4' is not one of n1, n2, n3"):
        StoreConfig(node="n4", nodes=NODES)


def test_options_become_fields_of_the_right_kind():
    made = config().with_options(
        {
            "snapshot-every": 7,
            "slow-apply-ms": 20,
            "lease-reads": "true",
            "election-timeouts": "n1=1.0,n2=1.5",
            "assertions-off": "commit-beyond-last,conflict-below-commit",
            "op-timeout": 3,
        }
    )
    assert (made.snapshot_every, made.slow_apply_ms, made.lease_reads) == (7, 20.0, True)
    assert made.election_timeouts == {"n1": 1.0, "n2": 1.5}
    assert made.assertions_off == ("commit-beyond-last", "conflict-below-commit")
    assert made.raft().election_timeout_ticks == 30
    assert StoreConfig.from_json(made.to_json()) == made


def test_every_knob_is_a_field_and_a_wrong_value_is_told():
    assert all(hasattr(config(), name.replace("-", "_")) for name in KNOBS)
    for name, value in (
        ("snapshot-every", "often"),
        ("election-timeouts", "n1"),
        ("inflight", 1.5),
    ):
        with pytest.raises(RequestError, match=name):
            config().with_options({name: value})
    with pytest.raises(UnknownName, match="assertion"):
        config().with_options({"assertions-off": "all"})
    with pytest.raises(RequestError, match="snapshot_every 0"):
        config().with_options({"snapshot-every": 0})


def test_a_malformed_file_is_told_in_one_line():
    for data in (b"{", b'{"node": 1, "nodes": []}', b"{}"):
        with pytest.raises(RequestError, match="store configuration") as error:
            StoreConfig.from_json(data)
        assert "\n" not in str(error.value)
