"""How an agent gets into a container's network namespace: from here, or in a helper container."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from splitbrain.substrates.packets.client import namespace_argv

__all__ = ["agent_argv", "by_host"]


def by_host(packets: str) -> bool:
    """Whether agents run on this machine, which takes root, by the option ``packets``."""
    return packets != "container" and os.geteuid() == 0 and shutil.which("nsenter") is not None


def agent_argv(
    container: str, pid: int, *, image: str, marks: Mapping[str, str]
) -> tuple[str, ...]:
    """The command that runs an agent in the network namespace of a container.

    Args:
        container: its id.
        pid: of its first process on this machine.
        image: for a helper container; empty: from this machine.
        marks: labels of the helper.
    """
    if not image:
        return namespace_argv(pid)
    return (
        *("docker", "run", "--rm", "-i", f"--network=container:{container}"),
        *("--cap-add=NET_ADMIN", "--cap-add=NET_RAW", "--user=0"),
        *(f"--label={name}={value}" for name, value in marks.items()),
        *("--entrypoint=python3", image, "-m", "splitbrain.substrates.agent"),
    )
