"""Make a member of the placement driver for any Env: the correct one, or one with seeded bugs.

A bug replaces a class: of the member or of its oracle.  PD's Raft core is always the correct one, so
that a bug of the stores' core shows in what stores do.
"""

from __future__ import annotations

from splitbrain.cluster.bugs.pd_bugs import pd_class, tso_class
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.node import PdNode
from splitbrain.env import Env

__all__ = ["build_pd"]


def build_pd(config: PdConfig, env: Env) -> PdNode:
    """One member, not yet started; bugs that are not PD's are passed over.

    Raises:
        ValueError: the configuration and the Env speak of different nodes.
    """
    if config.node != env.node:
        raise ValueError(f"pd configured as {config.node!r} is to run as node {env.node!r}")
    return pd_class(config.bugs)(config, env, tso_class=tso_class(config.bugs))
