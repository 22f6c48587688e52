"""Whether the kernel holds a process frozen: cgroup v1's freezer, and v2's ``cgroup.freeze``.

A frozen process is in no state of its own in ``/proc/PID/stat``, so its cgroup is asked.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["is_frozen"]

_ROOT = Path("/sys/fs/cgroup")


def is_frozen(pid: int) -> bool:
    """True if the cgroup of ``pid`` is frozen; False also where that cannot be told."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return any(_frozen(*line.split(":", 2)[1:]) for line in lines if line.count(":") >= 2)


def _frozen(controllers: str, path: str) -> bool:
    inside = path.lstrip("/")
    if "freezer" in controllers.split(","):
        return _text(_ROOT / "freezer" / inside / "freezer.state").strip() == "FROZEN"
    if not controllers:
        events = _text(_ROOT / inside / "cgroup.events").splitlines()
        return "frozen 1" in events
    return False


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
