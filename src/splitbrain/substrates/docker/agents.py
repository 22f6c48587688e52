"""How an agent gets into a container's network namespace: from here, or in a helper container."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from splitbrain.substrates.packets.client import namespace_argv

__all__ = ["agent_argv", "by_host", "elsewhere"]


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


def elsewhere(container: str, pid: int) -> str:
    """Why the process of that number here is not the container's; empty if it is, or is gone.

    The number is the engine's.  If that runs on another machine, or sees other processes than we do,
    the same number here is somebody else's, and a rule in its namespace might cut off this machine.
    """
    try:
        ours = container in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")
        with contextlib.suppress(PermissionError):  # who is not root makes no rules from here
            ours = ours and not os.path.samefile(f"/proc/{pid}/ns/net", "/proc/self/ns/net")
    except OSError:
        return ""
    if ours:
        return ""
    return (
        f"process {pid} of this machine is not that of container {container[:12]}: splitbrain must run "
        "on the engine's machine and see its processes"
    )
