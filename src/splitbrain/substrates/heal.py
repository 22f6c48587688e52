"""Undo what dead runs left behind: their processes, and their directories outside the store.

A run is dead when its link lies in the state directory and the tool that wrote it no longer runs
(pid and start time, in this boot).  Its leftovers are found in these ways, none by a name:

- by the journal: a process whose pid, start time and session are in a ``done`` record;
- by the engine's labels: containers, networks and volumes, where the journal says that a run made any;
- borrowed containers, which the journal names: they get back the state in which they were found;
- on the hosts that the journal names, reached by SSH: by the label, as here;
- by the label: a process whose environment holds the run's label exactly, in a session other than
  the healer's own whose leader holds it too or is gone.  This settles an intent without ``done``,
  and children of nodes.

Everything else is left alone, above all runs whose tool lives, and processes that merely look alike.
Healing twice, or twice at once, does what healing once does.

Example::

    report = heal()
    for line in report.lines():
        print(line)
    if report.left:
        ...  # exit 4: something could not be undone
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from splitbrain.errors import NewerStore
from splitbrain.substrates.journal import Act, RunLink, read_acts, read_link, state_directory
from splitbrain.substrates.tools import procfs
from splitbrain.substrates.tools.private import remove_private

__all__ = ["Ended", "HealReport", "end_labelled", "heal"]

_WAIT_S = 5.0
_GRACE_S = 1.0
_FRESH_NS = 10_000_000_000
_IN_ENGINE = ("make-network", "make-volume", "make-container")
_BORROW = "borrow-container"
_ON_HOSTS = ("use-host", "start-remote")


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """An orphan that was ended.

    Attributes:
        label: the run that left it.
        pid: its process id.
        what: the node, or the part of the run, that it was; empty if only the label told whose.
    """

    label: str
    pid: int
    what: str = ""


class HealReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and what is left.

    Attributes:
        ended: orphans that no longer run.
        removed: directories, here or on hosts, containers, networks and volumes that were removed.
        returned: borrowed containers that are again what they were, and what was done to that end.
        healed: labels of runs of which nothing is left now.
        alive: labels of runs that were left alone, because their tool runs.
        left: one line for each thing that could not be undone.
    """

    ended: tuple[Ended, ...] = ()
    removed: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    healed: tuple[str, ...] = ()
    alive: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """The report in words, one line a fact; one line too if there was nothing to do."""
        lines = [
            f"run {it.label}: ended {it.what or 'a child'} (pid {it.pid})" for it in self.ended
        ]
        lines += [f"removed {path}" for path in self.removed]
        lines += [f"gave back {what}" for what in self.returned]
        lines += [f"run {label}: healed" for label in self.healed]
        lines += [f"run {label}: still running, left alone" for label in self.alive]
        lines += [f"left: {problem}" for problem in self.left]
        return tuple(lines) or ("nothing to heal",)


class _Work:
    """A report in the making."""

    def __init__(self) -> None:
        self.ended: list[Ended] = []
        self.removed: list[str] = []
        self.returned: list[str] = []
        self.healed: list[str] = []
        self.alive: list[str] = []
        self.left: list[str] = []

    def report(self) -> HealReport:
        return HealReport(
            ended=tuple(self.ended),
            removed=tuple(self.removed),
            returned=tuple(self.returned),
            healed=tuple(self.healed),
            alive=tuple(self.alive),
            left=tuple(self.left),
        )


def heal(state: str | None = None, *, only: str | None = None, own: bool = False) -> HealReport:
    """Heal every dead run of the state directory, or the one labelled ``only``.

    With ``own`` a run whose tool lives is healed too: for that tool itself, at its own hasty end.

    Never raises for what it finds; what could not be undone is in the report's ``left``, and the
    link of such a run stays, so that the next ``heal`` tries again.
    """
    directory = Path(state or state_directory())
    work = _Work()
    for path in sorted(directory.glob("*.json")):
        if only is not None and path.stem != only:
            continue
        try:
            link = read_link(str(path))
        except FileNotFoundError:
            continue  # another heal, or the run itself, was faster
        except (OSError, msgspec.MsgspecError, NewerStore) as error:
            work.left.append(f"{path}: {error}; remove the file once you have looked at it")
            continue
        if link.tool_runs and not own:
            work.alive.append(link.label)
        elif _heal_run(link, work):
            path.unlink(missing_ok=True)
            work.healed.append(link.label)
    return work.report()


def end_labelled(label: str) -> HealReport:
    """End every process of one run, by its label alone: for the run's own end."""
    work = _Work()
    _end_processes(label, {}, work)
    return work.report()


def _heal_run(link: RunLink, work: _Work) -> bool:
    acts = read_acts(link.journal)
    problems = len(work.left)
    if link.boot == procfs.boot_id():
        _end_processes(link.label, acts, work)
    open_ = {act.name for act in acts.values() if not act.undone}
    if open_ & {*_IN_ENGINE, _BORROW}:
        _clear_engine(link.label, acts, work)
    used = [act for act in acts.values() if act.name in _ON_HOSTS and not act.undone]
    if used:
        _clear_hosts(link.label, used, work)
    for act in acts.values():
        path = act.fields.get("target")
        if act.name != "make-directory" or act.undone or not isinstance(path, str):
            continue
        existed = os.path.lexists(path)
        if not remove_private(path, link.label):
            work.left.append(
                f"{path}: not the directory that run {link.label} made; not touched"
            )
        elif existed:
            work.removed.append(path)
    return len(work.left) == problems


def _clear_engine(label: str, acts: Mapping[int, Act], work: _Work) -> None:
    """Remove what the run made in Docker, from the engine that its journal names; return the rest."""
    try:
        from splitbrain.substrates.docker.heal import remove_labelled, return_borrowed
    except ImportError:
        work.left.append(
            f"Docker objects of run {label}: the package docker is missing: "
            "pip install 'splitbrain[docker]'"
        )
        return
    urls = {str(act.fields["engine"]) for act in acts.values() if "engine" in act.fields}
    for url in sorted(urls):
        removed, left = remove_labelled(label, url)
        work.removed.extend(removed)
        work.left.extend(left)
    returned, left = return_borrowed(label, acts.values())
    work.returned.extend(returned)
    work.left.extend(left)


def _clear_hosts(label: str, used: Sequence[Act], work: _Work) -> None:
    """End and remove what the run left on its hosts; one that cannot be reached stays to be healed."""
    try:
        from splitbrain.substrates.ssh.heal import clear_hosts
    except ImportError:
        hosts = ", ".join(sorted({str(act.fields.get("host")) for act in used}))
        work.left.append(
            f"{hosts}, hosts of run {label}: the package paramiko is missing: "
            "pip install 'splitbrain[ssh]'"
        )
        return
    cleared, left = clear_hosts(label, [act.fields for act in used])
    for host, swept in cleared.items():
        what = f"a process on {host}"
        work.ended.extend(Ended(label=label, pid=pid, what=what) for pid in swept.ended)
        work.removed.extend(f"{host}: {path}" for path in swept.removed)
    work.left.extend(left)


def _end_processes(label: str, acts: Mapping[int, Act], work: _Work) -> None:
    """End the run's processes until a look finds none: a dying one may just have made another."""
    began = time.monotonic()
    unrecorded = _unrecorded(acts)
    seen: set[tuple[int, int]] = set()
    while True:
        found = _find(label, acts)
        for process, what in found:
            try:
                procfs.send_signal(process.pid, process.start, signal.SIGKILL)
            except OSError as error:
                work.left.append(f"pid {process.pid} of run {label}: {error.strerror}")
                return
            if (process.pid, process.start) not in seen:
                seen.add((process.pid, process.start))
                unrecorded -= what == "" and process.session == process.pid
                work.ended.append(Ended(label=label, pid=process.pid, what=what))
        waited = time.monotonic() - began
        if not found and (unrecorded <= 0 or waited > _GRACE_S):
            return
        if waited > _WAIT_S:
            work.left += [f"pid {it.pid} of run {label} does not end" for it, _ in found]
            return
        time.sleep(0.01)


def _unrecorded(acts: Mapping[int, Act]) -> int:
    """How many processes may just have been started without a record.

    The kernel shows a new process's environment only some moments after its maker goes on, long
    moments on a busy machine; so a fresh intent without ``done`` is worth a second look.
    """
    now_ns = time.monotonic_ns()
    return sum(
        act.name == "start-process"
        and act.result is None
        and not act.undone
        and now_ns - act.at_ns < _FRESH_NS
        for act in acts.values()
    )


def _find(label: str, acts: Mapping[int, Act]) -> list[tuple[procfs.Process, str]]:
    """The run's living processes, each with what it is."""
    journaled = {
        (act.result.get("pid"), act.result.get("start")): str(act.fields.get("target", ""))
        for act in acts.values()
        if act.name == "start-process" and act.result is not None
    }
    running = list(procfs.processes())
    own = os.getsid(0)  # where no node ever is: each gets a session of its own
    by_pid = {process.pid: process for process in running}
    marked = {
        it.pid for it in running if procfs.environment_of(it.pid).get(procfs.LABEL) == label
    }
    found = []
    for process in running:
        what = journaled.get((process.pid, process.start))
        if what is None and process.pid in marked and process.session != own:
            leader = by_pid.get(process.session)
            if leader is not None and leader.pid not in marked:
                continue  # somebody's shell, with our variable in it
            what = str(journaled.get((process.session, leader.start if leader else None), ""))
        if what is not None and process.pid != os.getpid():
            found.append((process, what))
    return found
