"""Which nodes a test of containers has that are there already: asked before the test is made."""

from __future__ import annotations

import contextlib

from splitbrain.contracts.spec import TestSpec
from splitbrain.substrates.docker.image.engine import connect
from splitbrain.substrates.docker.options import Options

__all__ = ["node_names"]


def node_names(spec: TestSpec) -> tuple[str, ...]:
    """The nodes' names, by the options ``compose``, ``containers`` and ``port``.

    Raises:
        RequestError: the options do not go together, or name no container.
        HostError: no engine answers, or these containers cannot be nodes.
    """
    options = Options.of(spec)
    with contextlib.closing(connect()) as client:
        # Without the package docker there is no such module; ``connect`` has said so.
        from splitbrain.substrates.docker.finding import find

        return tuple(target.node for target in find(client, options))
