"""The substrate ``sim``: everything in one process, on virtual time, decided by the seed.

    substrate = SimSubstrate()
    result = substrate.run(main)        # main opens a testbed by substrate.open(site)

A run is a pure function of its spec, as long as plug-ins draw from the streams handed to them and
read the clocks handed to them: no id(), no hash order, no clock of the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Site
from splitbrain.errors import HarnessError
from splitbrain.substrates.sim.knobs import Knobs
from splitbrain.substrates.sim.loop import SimLoop
from splitbrain.substrates.sim.node import LIMITS_NEED
from splitbrain.substrates.sim.testbed import SimTestbed

__all__ = ["SimSubstrate"]

T = TypeVar("T")

_HOUR_NS = 3_600_000_000_000


class SimSubstrate:
    """See :class:`splitbrain.contracts.testbed.Substrate`."""

    name = "sim"
    missing: Mapping[Fault, str] = dict.fromkeys((Fault.CPU, Fault.OOM), LIMITS_NEED)
    supports: frozenset[Fault] = frozenset(Fault) - missing.keys()

    def impossible(self, spec: TestSpec) -> Mapping[Fault, str]:
        """Nothing: no option takes a fault away here."""
        return {}

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run ``main`` to its end on a fresh loop of virtual time."""
        return SimLoop().run(main)  # type: ignore[abstract]  # waiting.py refuses the others

    async def open(self, site: Site) -> SimTestbed:
        """Make the testbed; knobs that the spec's options do not set are drawn from its seed.

        A test that takes ten times its time limit and an hour more, in virtual time, is given up.
        """
        loop = asyncio.get_running_loop()
        if not isinstance(loop, SimLoop):
            raise HarnessError("sim: a testbed is opened inside SimSubstrate.run, on its loop")
        knobs = Knobs.drawn(site.random.child("substrate"), site.spec.options)
        if knobs.order == "shuffled":
            loop.shuffle = site.random.child("substrate").stream("order")
        limit_ns = round(site.spec.time_limit_s * 10e9)
        loop.horizon_ns = loop.now_ns + limit_ns + _HOUR_NS
        return SimTestbed(loop, site, knobs)
