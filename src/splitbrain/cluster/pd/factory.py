"""Make a member of the placement driver for any Env: the correct one, or one with seeded bugs.

A bug replaces a class: of the member, of its oracle or of its Raft core.
"""

from __future__ import annotations

from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.node import PdNode
from splitbrain.cluster.pd.tso import Tso
from splitbrain.cluster.raft.core import Raft
from splitbrain.env import Env

__all__ = ["build_pd"]


def build_pd(
    config: PdConfig,
    env: Env,
    *,
    pd_class: type[PdNode] = PdNode,
    tso_class: type[Tso] = Tso,
    raft_class: type[Raft] = Raft,
) -> PdNode:
    """One member, not yet started.

    Raises:
        ValueError: the configuration and the Env speak of different nodes.
    """
    if config.node != env.node:
        raise ValueError(f"pd configured as {config.node!r} is to run as node {env.node!r}")
    return pd_class(config, env, raft_class=raft_class, tso_class=tso_class)
