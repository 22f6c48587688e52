"""What the machine refuses: a full disk, no permission, no port, a node that does not come up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOOL = f"{sys.executable} -m splitbrain"


def in_namespace(kind: str, script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell script in mounts (``-m``) or a network (``-n``) of its own; skip if not allowed."""
    probe = subprocess.run(
        ["unshare", kind, "true"], capture_output=True, text=True, check=False
    ) if shutil.which("unshare") else None  # fmt: skip
    if probe is None or probe.returncode:
        pytest.skip("needs root and util-linux's unshare, to have a small disk or few ports")
    return subprocess.run(
        ["unshare", kind, "sh", "-ec", script],
        cwd=cwd,
        env={**os.environ, "XDG_STATE_HOME": str(cwd / "state")},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of ours on stderr; there may be live lines before them."""
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if " op/s " not in line]
    assert lines[0].startswith("splitbrain: "), done.stderr
    return lines


SMALL_DISK = "mkdir disk; mount -t tmpfs -o size={size} tmpfs disk; "


def test_a_disk_that_fills_up_ends_the_run_and_leaves_a_readable_history(
    tmp_path: Path,
) -> None:
    done = in_namespace(
        "-m",
        SMALL_DISK.format(size="100k")
        + f"{TOOL} run register --on sim --seed 1 --store disk || echo ended $?; "
        + f"{TOOL} check disk/latest 2>notes || echo checked $?",
        tmp_path,
    )
    first, second = told(done)
    assert "history.jsonl: cannot write: No space left on device; choose another place" in first
    assert "the history so far is kept in disk/register/" in second
    assert "ended 4" in done.stdout
    assert "UNKNOWN: " in done.stdout
    assert "checked 3" in done.stdout
    assert "the verdict was not kept" in (tmp_path / "notes").read_text()


def test_a_disk_that_is_full_is_one_line(tmp_path: Path) -> None:
    done = in_namespace(
        "-m",
        SMALL_DISK.format(size="16k")
        + "dd if=/dev/zero of=disk/all bs=1k 2>dd.txt || true; "
        + f"{TOOL} run register --on sim --time-limit 2 --store disk || echo ended $?",
        tmp_path,
    )
    (line,) = told(done)
    assert "No space left on device" in line
    assert "ended 4" in done.stdout


def test_a_store_that_may_only_be_read_is_one_line(tmp_path: Path) -> None:
    done = in_namespace(
        "-m",
        "mkdir disk; mount -t tmpfs -o ro tmpfs disk; "
        f"{TOOL} run register --on sim --time-limit 2 --store disk/store || echo ended $?",
        tmp_path,
    )
    (line,) = told(done)
    assert "cannot make a run directory below disk/store: Read-only file system" in line
    assert "--store DIR" in line
    assert "ended 4" in done.stdout


def test_no_permission_on_the_store_is_one_line(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    # Permissions do not bind root, unless it has given up that capability with all others.
    less = (
        ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.getuid() == 0 else []
    )
    if less and (
        not shutil.which("setpriv")
        or subprocess.run([*less, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("as root it needs util-linux's setpriv; run as another user, or install it")
    done = subprocess.run(
        [*less, *TOOL.split(), "run", "register", "--on", "sim", "--store", str(closed / "s")],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    (line,) = told(done)
    assert f"cannot make a run directory below {closed / 's'}: Permission denied" in line
    assert done.returncode == 4


def test_a_journal_that_cannot_be_linked_is_one_line(
    invoke: Callable[..., Any], one_line: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file where a directory must be")
    done = invoke("run", "register", "--on", "local", "--time-limit", "1")
    assert "cannot write the journal" in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr
    assert done.exit_code == 4


@pytest.mark.processes
@pytest.mark.parametrize(("last", "said"), [(50001, "no port to be had"), (50006, "in use")])
def test_a_machine_without_free_ports_is_told(last: int, said: str, tmp_path: Path) -> None:
    done = in_namespace(
        "-n",
        "ip link set lo up; "
        f"echo '50000 {last}' > /proc/sys/net/ipv4/ip_local_port_range; "
        f"{TOOL} run register --on local --nodes 3 --time-limit 2 || echo ended $?; "
        f"{TOOL} heal >healed",
        tmp_path,
    )
    line = told(done)[0]
    assert said in line
    assert "in use" in line
    assert "ended 4" in done.stdout


DYING = """
import asyncio
from splitbrain.contracts.testbed import Program
from splitbrain.systems.minitikv import Minitikv

class Dying(Minitikv):
    name = "dying"

    async def start(self, spec, testbed, random, pacer):
        words = "echo opening the shop; echo no shop to open >&2; exit 3"
        program = Program(name="dying", argv=("sh", "-c", words), control=True)
        await testbed.node("n1").start(program)

SYSTEMS = {"dying": Dying}
"""


@pytest.mark.processes
def test_a_node_that_does_not_come_up_is_told_with_the_end_of_its_log(
    invoke: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    words = ("--system", "dying", "--load", "dying.py", "--nodes", "1", "--time-limit", "1")
    done = invoke("run", "register", "--on", "local", *words)
    assert done.exit_code == 4
    lines = [line for line in done.stderr.splitlines() if " op/s " not in line]
    assert lines[0].startswith("splitbrain: node n1: ")
    assert "no shop to open" in done.stderr
    assert "the history so far is kept in store/register/" in lines[-1]
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "state").glob("splitbrain/runs/*.json")), (
        "nothing is left to heal"
    )
