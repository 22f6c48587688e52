"""Limits of a container's processor time and memory, set while it runs.

An engine that is told to lower a memory limit below what is used refuses, or fails to reclaim.  So a
node is *starved* as it would be by a greedy neighbour in its own cgroup: the limit is set just above
what is in use, the node is made the kernel's first choice, and a command in the container asks for
more than is left.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from splitbrain.errors import HostError
from splitbrain.substrates.docker.body import ContainerBody
from splitbrain.substrates.docker.engine import Engine
from splitbrain.substrates.tools.cgroups import memory_bytes

__all__ = ["PERIOD_US", "limit_cpu", "limit_memory", "quota_us", "starve"]

PERIOD_US = 100_000
_LEAST_US = 1_000
_ROOM_BYTES = 16 << 20
_ALL_BYTES = 1 << 50
_WAIT_S = 60.0
_GREED = ("sh", "-c", "head -c 4096m /dev/zero | tail >/dev/null")
"""``tail`` keeps the whole of a line that does not end."""


def quota_us(cores: float | None) -> int:
    """Microseconds of processor time in each period; -1 for no limit.

    >>> quota_us(0.05), quota_us(None)
    (5000, -1)
    """
    return -1 if cores is None else max(_LEAST_US, round(cores * PERIOD_US))


async def limit_cpu(engine: Engine, container: str, cores: float | None) -> None:
    """Let the container have so many cores at most; None or 0: as many as there are."""
    await engine.call(
        "update_container", container, cpu_period=PERIOD_US, cpu_quota=quota_us(cores or None)
    )


async def limit_memory(engine: Engine, container: str, size: int) -> None:
    """Limit the container's memory in bytes; 0 for no limit, which an engine cannot be told."""
    limits = {"mem_limit": size or _ALL_BYTES, "memswap_limit": size or -1}
    await engine.call("update_container", container, **limits)


async def starve(engine: Engine, container: str, body: ContainerBody) -> None:
    """Take memory in the container until the kernel kills its first process.

    Raises:
        HostError: it did not, with what the engine said.
    """
    used = memory_bytes(body.pid)
    if used is None:
        raise HostError(
            f"container {container[:12]}: the kernel does not tell its use of memory"
        )
    # Raising one's own score is allowed to everybody; not seen by root of another namespace.
    with contextlib.suppress(OSError):
        await asyncio.to_thread(Path(f"/proc/{body.pid}/oom_score_adj").write_text, "1000")
    await limit_memory(engine, container, used + _ROOM_BYTES)
    try:
        made = await engine.call("exec_create", container, list(_GREED))
        await engine.call("exec_start", made["Id"], detach=True)
    except HostError:
        if body.returncode is None and body.look_now() is not None:
            raise
    if not await body.over(_WAIT_S):
        raise HostError(
            f"container {container[:12]}: the kernel did not kill its first process within "
            f"{_WAIT_S:.0f} s of its memory being used up; does its image have sh, head and tail?"
        )
