"""The system ``minitikv``: its configuration, its fault model, its bugs and schedules."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence

from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.contracts.fault import Fault, Limit
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.contracts.system import Bug, RunningSystem
from splitbrain.contracts.testbed import Testbed
from splitbrain.env import Pacer
from splitbrain.env.random import Random
from splitbrain.systems.minitikv.bugs import BUGS
from splitbrain.systems.minitikv.knobs import drawn_knobs
from splitbrain.systems.minitikv.running import NodePlan, start_stores
from splitbrain.systems.minitikv.schedules import SCHEDULES

__all__ = ["Minitikv"]

SCALE = 1 / 3
"""Protocol times as shipped: an election timeout of 1 s; ``scale=1`` is TiKV's order of size."""

_ANY = (
    Fault.PARTITION,
    Fault.ONE_WAY,
    Fault.KILL,
    Fault.POWER,
    Fault.PAUSE,
    Fault.OOM,
    Fault.CPU,
    Fault.DELAY,
    Fault.RATE,
    Fault.LOSS,
    Fault.DUPLICATION,
    Fault.REORDERING,
    Fault.CORRUPTION,
    Fault.CLOCK_JUMP,
    Fault.CLOCK_STROBE,
    Fault.DISK_SLOW,
    Fault.CLIENT_LINKS,
)

DRIFT_MAX = 0.1
"""Largest drift by default; the lease's own bound is wider."""


class Minitikv:
    """The bundled reference cluster; see DESIGN of ``splitbrain.cluster``."""

    name = "minitikv"
    vocabularies = frozenset({"kv", "txn"})
    checks = frozenset({"replicas"})
    bugs: Mapping[str, Bug] = BUGS
    admin_actions = frozenset(
        {
            "transfer-leader",
            "campaign",
            "compact",
            "status",
            "pd-transfer-leader",
            "pd-split-region",
            "pd-move-peer",
            "pd-evict-leader",
        }
    )
    fault_model: Mapping[Fault, Limit] = {
        **{fault: Limit() for fault in _ANY},
        Fault.CLOCK_DRIFT: Limit(size=DRIFT_MAX),
    }

    def config(self, spec: TestSpec, node: str) -> StoreConfig:
        """What the store ``node`` is told."""
        transactional = spec.vocabulary == "txn"
        base = StoreConfig(
            node=node,
            nodes=spec.nodes,
            scale=_scale(spec),
            mode="txn" if transactional else "raw",
            pd=_members(spec) if transactional else (),
            first_stores=spec.nodes[: _pd_config(spec, spec.nodes[0]).replicas]
            if transactional
            else (),
            bugs=tuple(bug for bug in spec.bugs if bug in BUGS),
        )
        drawn = drawn_knobs(spec.seed) if spec.substrate == "sim" else {}
        return base.with_options({**drawn, **spec.options})

    def pd_config(self, spec: TestSpec, node: str) -> PdConfig | None:
        """What the member of the placement driver on ``node`` is told; None: there is none."""
        if spec.vocabulary != "txn" or node not in _members(spec):
            return None
        return _pd_config(spec, node)

    def election_timeout_s(self, spec: TestSpec) -> float:
        """T."""
        return self.config(spec, spec.nodes[0]).election_timeout_s

    def times(self, spec: TestSpec) -> Mapping[str, float]:
        """Protocol times in seconds."""
        config = self.config(spec, spec.nodes[0])
        return {
            "election_timeout": round(config.election_timeout_s, 4),
            "heartbeat": round(config.heartbeat_s * config.scale, 4),
            "lease": round(config.lease_s * config.scale, 4),
            "operation_timeout": round(op_timeout_s(spec, config), 4),
        }

    def validate(self, spec: TestSpec) -> None:
        """Raise RequestError for knobs that make no sense."""
        for node in spec.nodes:
            self.config(spec, node)
            self.pd_config(spec, node)

    def schedule(self, name: str) -> Sequence[ScheduledFault]:
        """A directed schedule by name; KeyError if there is none."""
        return SCHEDULES[name]

    def start(
        self, spec: TestSpec, testbed: Testbed, random: Random, pacer: Pacer
    ) -> Awaitable[RunningSystem]:
        """Start a store on every node."""
        configs = {
            node: NodePlan(self.config(spec, node), self.pd_config(spec, node))
            for node in spec.nodes
        }
        timeout_s = op_timeout_s(spec, configs[spec.nodes[0]].store)
        return start_stores(spec, testbed, random, pacer, configs, timeout_s)


def _scale(spec: TestSpec) -> float:
    return float(spec.options.get("scale", SCALE))


def _members(spec: TestSpec) -> tuple[str, ...]:
    """The nodes that have a member of the placement driver beside their store."""
    return spec.nodes[: 3 if len(spec.nodes) >= 3 else 1]


def _pd_config(spec: TestSpec, node: str) -> PdConfig:
    base = PdConfig(
        node=node,
        nodes=_members(spec),
        scale=_scale(spec),
        replicas=min(5, len(spec.nodes) - 1 + len(spec.nodes) % 2),
        bugs=tuple(bug for bug in spec.bugs if bug in BUGS),
    )
    return base.with_options(spec.options)


def op_timeout_s(spec: TestSpec, config: StoreConfig) -> float:
    """How long a client waits for one operation: ``op-timeout``, by default 2 T."""
    return float(spec.options.get("op-timeout", 2 * config.election_timeout_s))
