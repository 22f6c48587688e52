"""The substrate itself, ``--on ssh``: what it can do on these hosts, its event loop, and its door."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar, cast

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Site
from splitbrain.errors import HostError
from splitbrain.substrates.heal import heal
from splitbrain.substrates.ssh.options import LIMITS_NEED, Options

__all__ = ["SshSubstrate"]

T = TypeVar("T")

_LACKING = "the package paramiko: pip install 'splitbrain[ssh]'"


def _has_paramiko() -> bool:
    try:
        import paramiko  # noqa: F401
    except ImportError:
        return False
    return True


class SshSubstrate:
    """Nodes are processes of hosts reached by SSH; see ``contracts.testbed.Substrate``.

    What hosts can do is known once a test names them: ``impossible`` asks them.
    """

    @property
    def name(self) -> str:
        """``ssh``."""
        return "ssh"

    @property
    def supports(self) -> frozenset[Fault]:
        """Everything, where paramiko is installed and the hosts have what it takes."""
        return frozenset(Fault) - self.missing.keys()

    @property
    def missing(self) -> Mapping[Fault, str]:
        """What would make the others possible."""
        if not _has_paramiko():
            return dict.fromkeys(Fault, _LACKING)
        return dict.fromkeys((Fault.CPU, Fault.OOM), LIMITS_NEED)

    def impossible(self, spec: TestSpec) -> Mapping[Fault, str]:
        """What these hosts cannot do, by their agents' own word; they are asked once a process.

        Raises:
            RequestError: an option of the substrate is malformed.
            HostError: a host cannot be reached, or is another run's.
        """
        options = Options.of(spec)
        return _ask_hosts(options) if _has_paramiko() else {}

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run ``main`` to its end on a new asyncio event loop."""
        return asyncio.run(cast("Coroutine[Any, Any, T]", main()))

    async def open(self, site: Site) -> Any:
        """Make the testbed, after healing what earlier, dead runs left behind.

        Raises:
            HostError: a host cannot be reached, is another run's, or lacks what we need.
            RequestError: an option of the substrate is malformed.
        """
        options = Options.of(site.spec)
        if not _has_paramiko():
            raise HostError(f"--on ssh lacks {_LACKING}")
        from splitbrain.substrates.ssh.testbed import open_testbed

        await asyncio.to_thread(heal)
        return await open_testbed(site, options)


@functools.cache
def _ask_hosts(options: Options) -> Mapping[Fault, str]:
    from splitbrain.substrates.ssh.asking import abilities

    return asyncio.run(abilities(options))
