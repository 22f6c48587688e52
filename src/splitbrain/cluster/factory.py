"""Make a store, or all that a node runs, for any Env: the correct one, or one with seeded bugs.

A bug replaces a class; which one is looked up here, once, when the node is made.  Several bugs of
one class are joined by inheritance, in the order of the configuration.  Bugs of the client are
passed over: ``bugs.registry`` has those classes, too.
"""

from __future__ import annotations

from functools import partial

from splitbrain.cluster.bugs.registry import mvcc_class, peer_class, raft_class
from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.factory import build_pd
from splitbrain.cluster.shells import Shells
from splitbrain.cluster.store.shell import Store
from splitbrain.env import Env, Shell

__all__ = ["build_node", "build_store"]


def build_store(config: StoreConfig, env: Env) -> Store:
    """One node, not yet started.

    Raises:
        UnknownName: ``config.bugs`` names a bug that is not there.
        ValueError: the configuration and the Env speak of different nodes.
    """
    if config.node != env.node:
        raise ValueError(f"store configured as {config.node!r} is to run as node {env.node!r}")
    bugs = config.bugs
    return Store(
        config,
        env,
        raft_class=raft_class(bugs),
        peer_class=peer_class(bugs),
        mvcc_class=mvcc_class(bugs),
    )


def build_node(store: StoreConfig, pd: PdConfig | None, env: Env) -> Shell:
    """What a node runs, not yet started: a store, and with ``pd`` a member of the driver beside it.

    Raises:
        UnknownName, ValueError: as ``build_store``.
    """
    if not store.pd:
        return build_store(store, env)
    make_pd = None if pd is None else partial(build_pd, pd)
    return Shells(env, partial(build_store, store), make_pd)
