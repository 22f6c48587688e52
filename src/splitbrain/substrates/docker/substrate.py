"""The substrate itself, ``--on docker``: what it can do here, its event loop, and its door."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Site, Testbed
from splitbrain.errors import SplitbrainError
from splitbrain.substrates.docker.image import connect
from splitbrain.substrates.docker.options import Options
from splitbrain.substrates.heal import heal
from splitbrain.substrates.packets.abilities import missing_faults

if TYPE_CHECKING:
    from splitbrain.substrates.docker.testbed import DockerTestbed

__all__ = ["DockerSubstrate"]

T = TypeVar("T")

_ORDERS = (
    "the program of a container that was there already takes no orders of ours: leave it out"
)
_LIMITS = "the limits of containers that were there already stay as they are: leave it out"
_NOT_OURS = (
    ("clock", _ORDERS),
    ("disk", _ORDERS),
    ("power", _ORDERS),
    ("cpu", _LIMITS),
    ("oom", _LIMITS),
)
"""Parts of the names of faults that attached containers cannot have, and why."""

_OF_LINKS = (
    Fault.PARTITION,
    Fault.ONE_WAY,
    Fault.CLIENT_LINKS,
    Fault.DELAY,
    Fault.RATE,
    Fault.LOSS,
    Fault.DUPLICATION,
    Fault.REORDERING,
    Fault.CORRUPTION,
)


@functools.cache
def _missing() -> Mapping[Fault, str]:
    """What cannot be done to containers here, and why.

    Asked once: an agent tells it of a network namespace that is made for the question.
    """
    if sys.platform != "linux":
        return dict.fromkeys(Fault, "containers must be processes of this machine: use Linux")
    try:
        connect().close()
    except SplitbrainError as error:
        return dict.fromkeys(Fault, str(error))
    if os.geteuid() == 0 and shutil.which("nsenter"):
        return _asked()
    if shutil.which("docker"):
        return {}  # a helper container has what it needs in its image
    why = "root and nsenter, or the command docker to start helper containers, are missing"
    return dict.fromkeys(_OF_LINKS, why)


def _asked() -> Mapping[Fault, str]:
    argv = ("unshare", "-n", sys.executable, "-m", "splitbrain.substrates.agent")
    request = b'{"n":1,"verb":"hello"}\n'
    try:
        done = subprocess.run(argv, input=request, capture_output=True, timeout=20, check=False)
        return missing_faults(json.loads(done.stdout.splitlines()[0])["ok"])
    except (OSError, ValueError, IndexError, KeyError, subprocess.TimeoutExpired) as error:
        why = f"a network namespace cannot be made and asked here ({error})"
        return dict.fromkeys(_OF_LINKS, why)


class DockerSubstrate:
    """Nodes are containers of an engine on this machine; see ``contracts.testbed.Substrate``."""

    @property
    def name(self) -> str:
        """``docker``."""
        return "docker"

    @property
    def supports(self) -> frozenset[Fault]:
        """What engine and kernel can do here."""
        return frozenset(Fault) - self.missing.keys()

    @property
    def missing(self) -> Mapping[Fault, str]:
        """For each other fault what would make it possible."""
        return _missing()

    def impossible(self, spec: TestSpec) -> Mapping[Fault, str]:
        """Containers that are there already take no orders, and keep their limits.

        Raises:
            RequestError: an option of the substrate is malformed.
        """
        if not Options.of(spec).attached:
            return {}
        return {fault: why for fault in Fault for part, why in _NOT_OURS if part in str(fault)}

    def rehearsal(self, spec: TestSpec, say: Callable[[str], None]) -> Testbed:
        """A testbed that does nothing, and says each command that it would run.

        Raises:
            RequestError: an option is malformed, or a container is not there.
            HostError: no engine answers, where it is asked which containers there are.
        """
        from splitbrain.substrates.docker.dryrun import rehearsal

        return rehearsal(spec, say)

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run ``main`` to its end on a new asyncio event loop."""
        return asyncio.run(cast("Coroutine[Any, Any, T]", main()))

    async def open(self, site: Site) -> DockerTestbed:
        """Make the testbed, after healing what earlier, dead runs left behind.

        Raises:
            HostError: the package docker is missing, no engine answers, or it refuses.
            RequestError: an option of the substrate is malformed.
        """
        options = Options.of(site.spec)
        await asyncio.to_thread(heal)
        client = await asyncio.to_thread(connect)
        # Without the package docker there are no such modules; ``connect`` has said so.
        if options.attached:
            from splitbrain.substrates.docker.attach import open_attached

            return await open_attached(site, client)
        from splitbrain.substrates.docker.testbed import open_testbed

        return await open_testbed(site, client)
