"""The substrate itself, ``--on local``: what it can do, its event loop, and its door."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar, cast

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Site
from splitbrain.errors import HostError
from splitbrain.substrates.heal import heal
from splitbrain.substrates.local.net import LOSS_NEEDS
from splitbrain.substrates.local.node import LIMITS_NEED
from splitbrain.substrates.local.testbed import LocalTestbed, Options, open_testbed

__all__ = ["LocalSubstrate"]

T = TypeVar("T")

_MISSING = (Fault.LOSS, Fault.DUPLICATION, Fault.REORDERING, Fault.CORRUPTION)

_BY_PROXY = (Fault.PARTITION, Fault.ONE_WAY, Fault.DELAY, Fault.RATE, Fault.CLIENT_LINKS)


class LocalSubstrate:
    """Nodes are processes of this machine; see ``contracts.testbed.Substrate``.

    Example::

        substrate = LocalSubstrate()

        async def main() -> None:
            testbed = await substrate.open(site)
            await testbed.node("n1").start(Program(name="toy", argv=("python3", "toy.py")))
            await testbed.close()

        substrate.run(main)
    """

    @property
    def name(self) -> str:
        """``local``."""
        return "local"

    @property
    def supports(self) -> frozenset[Fault]:
        """All faults but those of single packets, and of a node's share of the machine."""
        return frozenset(Fault) - self.missing.keys()

    @property
    def missing(self) -> Mapping[Fault, str]:
        """What would make the other faults possible."""
        return dict.fromkeys(_MISSING, LOSS_NEEDS) | dict.fromkeys(
            (Fault.CPU, Fault.OOM), LIMITS_NEED
        )

    def impossible(self, spec: TestSpec) -> Mapping[Fault, str]:
        """What this spec's options take away, and how to have it back.

        Raises:
            RequestError: an option of the substrate is malformed.
        """
        if Options.of(spec).proxies:
            return {}
        return dict.fromkeys(_BY_PROXY, "its proxies are off; drop --option proxies=false")

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run ``main`` to its end on a new asyncio event loop."""
        return asyncio.run(cast("Coroutine[Any, Any, T]", main()))

    async def open(self, site: Site) -> LocalTestbed:
        """Make the testbed, after healing what earlier, dead runs left behind.

        Raises:
            HostError: this machine is no Linux with pidfds, or refuses a directory or a port.
            RequestError: an option of the substrate is malformed.
        """
        if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
            raise HostError("local needs Linux 5.3 or newer; use --on sim, or --on docker")
        await asyncio.to_thread(heal)
        return await open_testbed(site)
