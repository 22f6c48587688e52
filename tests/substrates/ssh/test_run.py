"""``splitbrain run --on ssh``: minitikv on five hosts, right and wrong; and a tool that is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ssh, pytest.mark.timeout(600)]


def command(lab, store: Path, *words: str) -> list[str]:
    file = store.parent / "hosts"
    file.write_text(lab.hosts(5, words="sudo=yes").replace("; ", "\n"))
    own = [word for n in range(5) for word in ("--node", f"n{n + 1}")]
    return [
        *(sys.executable, "-m", "splitbrain", "run", "register", "--on", "ssh"),
        *("--hosts", str(file), *own, "--store", str(store), *words),
    ]


def run(lab, store: Path, *words: str) -> dict:
    done = subprocess.run(
        [*command(lab, store, *words), "--json"], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert lab.leftovers() == []
    return told


@pytest.mark.parametrize(
    "words",
    [
        ("--nemesis", "partition,kill", "--nemesis-interval", "3", "--time-limit", "12"),
        pytest.param(
            ("--nemesis", "partition,kill,pause,clock", "--time-limit", "40"),
            marks=pytest.mark.deep,
        ),
    ],
    ids=["short", "long"],
)
def test_a_correct_cluster_is_valid_under_faults(ssh_home, tmp_path, words) -> None:
    told = run(ssh_home, tmp_path / "store", *words, "--seed", "1")
    assert told["verdict"] == "valid", told["summary"]
    assert told["faults"]


@pytest.mark.deep
def test_a_seeded_bug_is_found(ssh_home, tmp_path) -> None:
    words = ("--nemesis", "partition", "--time-limit", "40", "--bug", "ack-on-append")
    verdicts = [
        run(ssh_home, tmp_path / "store", *words, "--seed", str(seed))["verdict"]
        for seed in (1, 2)
    ]
    assert "invalid" in verdicts


@pytest.mark.parametrize("fault", ["partition", "pause"])
def test_a_killed_tool_leaves_what_heal_removes(ssh_home, tmp_path, fault: str) -> None:
    words = ("--nemesis", fault, "--nemesis-interval", "1", "--time-limit", "200")
    store = tmp_path / "store"
    tool = subprocess.Popen(
        command(ssh_home, store, *words, "--seed", "3"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wanted = {"partition": '"act":"fault-links"', "pause": '"act":"pause"'}[fault]
        deadline = time.monotonic() + 200
        while not any(wanted in it.read_text() for it in store.glob("*/*/journal.jsonl")):
            assert tool.poll() is None, "it ended before its first fault"
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        tool.kill()
        tool.wait()
    assert ssh_home.leftovers() != []
    healed = subprocess.run(
        [sys.executable, "-m", "splitbrain", "heal"],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert healed.returncode == 0, healed.stdout
    assert "healed" in healed.stdout
    assert ssh_home.leftovers() == []
