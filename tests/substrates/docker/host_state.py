"""What this machine looks like from outside: its firewall, routes, mounts, settings and clock.

What belongs to the engine itself (its chains, its bridges, its mounts) comes and goes with everybody's
containers and is left out; what a run made in the engine is looked for by ``Made``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import weakref
from pathlib import Path
from typing import Any

import docker.errors

from splitbrain.substrates.docker.names import RUN, object_name
from splitbrain.substrates.journal import read_acts, read_link
from splitbrain.substrates.tools import procfs

_ENGINES = re.compile(r"DOCKER|docker0|\bbr-[0-9a-f]{12}|MASQUERADE|\bsb\d+\b")
"""The last: links of tests of the agent, which may run at the same time."""
_LIVELY = re.compile(
    r"^(kernel/(random|pty|ns_last_pid|sched_domain|perf)|fs/(aio|binfmt|dentry|file-nr|inode|quota)"
    r"|net/ipv[46]/(conf|neigh)/(br-|docker0|veth|sb)|net/netfilter/nf_conntrack_count|.*expect_count)"
)
_ENGINES_MOUNTS = ("/var/lib/docker", "/run/docker", "/var/run/docker", "/var/lib/containerd")


def firewall() -> frozenset[str]:
    """The rules and policies of every table, whichever kernel interface they came by."""
    lines: set[str] = set()
    for name in ("iptables-legacy-save", "iptables-nft-save", "ip6tables-save"):
        if shutil.which(name):
            done = subprocess.run([name], capture_output=True, text=True, check=True)
            lines |= {f"{name}: {line}" for line in done.stdout.splitlines()}
    plain = (re.sub(r"\[\d+:\d+\]", "", line) for line in lines if ": #" not in line)
    return frozenset(line for line in plain if not _ENGINES.search(line))


def routes() -> frozenset[str]:
    """Of the main table."""
    done = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True)
    return frozenset(it for it in done.stdout.splitlines() if not _ENGINES.search(it))


def mounts() -> frozenset[str]:
    """The mount points of this machine."""
    points = (it.split()[4] for it in Path("/proc/1/mountinfo").read_text().splitlines())
    return frozenset(point for point in points if not point.startswith(_ENGINES_MOUNTS))


def settings() -> dict[str, str]:
    """Everything below /proc/sys that stays as it is by itself."""
    found = {}
    for part in ("kernel", "net", "vm", "fs"):
        for directory, _, names in os.walk(f"/proc/sys/{part}"):
            for name in names:
                path = Path(directory) / name
                key = str(path.relative_to("/proc/sys"))
                if _LIVELY.match(key) or not os.access(path, os.R_OK):
                    continue
                try:
                    found[key] = path.read_text(errors="replace")
                except OSError:
                    continue
    return found


def clock_s() -> float:
    """How far the wall clock is ahead of the monotonic one."""
    return (time.time_ns() - time.monotonic_ns()) / 1e9


def _assert_alike(what: str, before: frozenset[str], now: frozenset[str]) -> None:
    assert before == now, f"{what}: gone {sorted(before - now)}, new {sorted(now - before)}"


class HostState:
    """The machine as it was when this was made."""

    def __init__(self) -> None:
        self.firewall, self.routes, self.mounts = firewall(), routes(), mounts()
        self.settings, self.clock_s = settings(), clock_s()

    def assert_same(self) -> None:
        """Nothing has changed since."""
        _assert_alike("firewall", self.firewall, firewall())
        _assert_alike("routes", self.routes, routes())
        _assert_alike("mounts", self.mounts, mounts())
        now = settings()
        changed = {
            key: (value, now[key])
            for key, value in self.settings.items()
            if now.get(key, value) != value
        }
        assert not changed, changed
        assert abs(clock_s() - self.clock_s) < 0.2


class Made:
    """What one run has made, found by its journal and its label while the run goes on."""

    def __init__(self, link: Path) -> None:
        told = read_link(str(link))
        self.label, self.journal = told.label, told.journal
        self.pids: set[tuple[int, int]] = set()
        self.namespaces: dict[str, int] = {}
        """Held open, so that the kernel gives none of their numbers to somebody else's."""
        self.containers: set[str] = set()
        self.networks: set[str] = set()
        self.directories: set[str] = set()
        self.look()

    def look(self) -> None:
        """Add what has been made since."""
        for act in read_acts(self.journal).values():
            result = act.result or {}
            if act.name == "make-container" and "id" in result:
                self.containers.add(str(result["id"]))
            elif act.name == "make-network" and "id" in result:
                self.networks.add(str(result["id"]))
            elif act.name == "start-process" and "pid" in result:
                self.pids.add((int(result["pid"]), int(result["start"])))
            elif act.name == "make-directory":
                self.directories.add(str(act.fields["target"]))
        own = os.readlink("/proc/self/ns/net")
        for process in procfs.processes():
            if self._is_contained(process.pid):
                self.pids.add((process.pid, process.start))
                place = f"/proc/{process.pid}/ns/net"
                try:
                    name = os.readlink(place)
                    if name != own and name not in self.namespaces:
                        held = os.open(place, os.O_RDONLY)
                        weakref.finalize(self, os.close, held)
                        self.namespaces[f"net:[{os.fstat(held).st_ino}]"] = held
                except OSError:
                    continue
        self.namespaces.pop(own, None)

    def _is_contained(self, pid: int) -> bool:
        try:
            cgroup = Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            return False
        return any(id_ in cgroup for id_ in self.containers)

    def left(self, client: Any) -> list[str]:
        """What of it is still there, each in a few words."""
        left = [f"process {pid}" for pid, start in self.pids if procfs.is_running(pid, start)]
        for process in procfs.processes():
            if procfs.environment_of(process.pid).get(procfs.LABEL) == self.label:
                left.append(f"labelled process {process.pid}")
            try:
                inside = os.readlink(f"/proc/{process.pid}/ns/net") in self.namespaces
            except OSError:
                continue
            if inside:
                left.append(f"process {process.pid} in a node's network namespace")
        left += self._left_in_engine(client)
        left += [f"directory {path}" for path in self.directories if Path(path).exists()]
        for directory, names, _ in os.walk("/sys/fs/cgroup"):  # others' cgroups go meanwhile
            left += [
                f"cgroup {directory}/{name}"
                for name in names
                if any(id_ in name for id_ in self.containers)
            ]
        mounted = Path("/proc/1/mountinfo").read_text()
        left += [f"mount of container {it[:12]}" for it in self.containers if it in mounted]
        for id_ in self.networks:
            if Path(f"/sys/class/net/br-{id_[:12]}").exists():
                left.append(f"bridge br-{id_[:12]}")
        left += [f"rule {line}" for line in firewall() if "SPLITBRAIN" in line]
        return left

    def _left_in_engine(self, client: Any) -> list[str]:
        api, marked = client.api, {"label": f"{RUN}={self.label}"}
        left = [f"container {it['Names']}" for it in api.containers(all=True, filters=marked)]
        left += [f"network {it['Name']}" for it in api.networks(filters=marked)]
        left += [f"volume {it['Name']}" for it in api.volumes(filters=marked)["Volumes"] or ()]
        for id_ in self.containers:
            try:
                api.inspect_container(id_)
                left.append(f"container {id_[:12]}")
            except docker.errors.NotFound:
                continue
        prefix = object_name(self.label)
        left += [f"a network {n.name}" for n in client.networks.list(names=[prefix])]
        return left
