"""What the kernel says of a process's cgroup: frozen, held back, how much memory; v1 and v2.

A frozen process is in no state of its own in ``/proc/PID/stat``, and a limited one does not know how
long it had to wait, so its cgroup is asked.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["is_frozen", "memory_bytes", "throttled_ns"]

_ROOT = Path("/sys/fs/cgroup")


def is_frozen(pid: int) -> bool:
    """True if the cgroup of ``pid`` is frozen; False also where that cannot be told."""
    return (
        _text(pid, "freezer", "freezer.state").strip() == "FROZEN"
        or "frozen 1" in _text(pid, "", "cgroup.events").splitlines()
    )


def throttled_ns(pid: int) -> int | None:
    """How long the kernel has held the cgroup back so far, for it had used up its share.

    None where that cannot be told.
    """
    for controller, name, unit_ns in (
        ("cpu", "throttled_time", 1),
        ("", "throttled_usec", 1000),
    ):
        for line in _text(pid, controller, "cpu.stat").splitlines():
            word, _, number = line.partition(" ")
            if word == name:
                return int(number) * unit_ns
    return None


def memory_bytes(pid: int) -> int | None:
    """Memory that is charged to the cgroup, its page cache included; None where that is not told."""
    text = _text(pid, "memory", "memory.usage_in_bytes") or _text(pid, "", "memory.current")
    return int(text) if text.strip().isdigit() else None


def _text(pid: int, controller: str, name: str) -> str:
    """A file of the cgroup in which ``pid`` is, of that v1 controller, or of v2 for an empty one."""
    try:
        for line in Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                mount = _ROOT / controller if controller else _ROOT
                return (mount / path.lstrip("/") / name).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return ""
