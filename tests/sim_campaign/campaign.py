"""Runs of the simulator in a process of their own; prints one line of JSON for each.

    python campaign.py '{"store": "/tmp/x", "megabytes": 17, "workload": "register", "seeds": [1, 2]}'

Each run goes the way of ``splitbrain run``: spec, run directory, verdict from what is on disk, report.
The line says what it came to, with the SHA-256 of the three files that DESIGN promises to repeat.
As a module it starts such processes and compares what two of them tell.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

FILES = ("history.jsonl", "faults.jsonl", "events.jsonl")
ELECTING = ("pre_candidate", "candidate", "leader")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What one process is to run.

    Attributes:
        megabytes: of small objects, half of them freed again, made before anything of ours is
            imported: a heap that no other run has.
        nemesis: package names; ``("all",)`` as in ``--nemesis all``.
    """

    store: str
    workload: str
    seeds: tuple[int, ...]
    megabytes: int = 1
    nemesis: tuple[str, ...] = ("all",)
    time_limit_s: float = 60.0
    options: dict[str, str | int | float | bool] = {}
    load: tuple[str, ...] = ()


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one run came to.

    Attributes:
        hashes: file name -> SHA-256.
        elected: times in ns of the elections won.
        disturbed: (node, kind, time_ns) of each step towards an election after the first one won.
    """

    workload: str
    seed: int
    verdict: str
    summary: str
    succeeded: int
    faults: int
    hashes: dict[str, str]
    elected: tuple[int, ...]
    disturbed: tuple[tuple[str, str, int], ...]


def start(order: Order, hash_seed: str) -> subprocess.Popen[str]:
    """Begin to run in a new process under this PYTHONHASHSEED."""
    return subprocess.Popen(
        [sys.executable, __file__, msgspec.json.encode(order).decode()],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str], timeout_s: float = 3000) -> dict[int, Told]:
    """Wait for its end; what it tells, by seed."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    assert process.returncode == 0, f"exit {process.returncode}: {err[-2000:]}"
    lines = [msgspec.json.decode(line, type=Told) for line in out.splitlines()]
    return {line.seed: line for line in lines}


def twice(order: Order) -> tuple[dict[int, Told], dict[int, Told]]:
    """Run an order in two processes, one after the other, as unlike as they can be.

    The second has another hash seed and heap, and runs the seeds in the opposite order: what one
    run leaves behind in the process must not reach the next.
    """
    first = told(start(order, "1"))
    other = msgspec.structs.replace(
        order,
        store=f"{order.store}-again",
        megabytes=65 - order.megabytes,
        seeds=order.seeds[::-1],
    )
    return first, told(start(other, "4242"))


def differences(first: dict[int, Told], second: dict[int, Told]) -> list[str]:
    """The files that differ, by seed."""
    assert sorted(first) == sorted(second)
    return [
        f"seed {seed}: {name} differs"
        for seed in sorted(first)
        for name in FILES
        if first[seed].hashes[name] != second[seed].hashes[name]
    ]


def _ballast(megabytes: int) -> list[Any]:
    """Small objects with holes between them."""
    objects: list[Any] = [[str(number)] for number in range(megabytes * 8_000)]
    for number in range(0, len(objects), 2):
        objects[number] = None
    return objects


def _main(order: Order) -> None:
    from splitbrain import catalog as names
    from splitbrain.contracts.spec import TestSpec

    catalog = names.load(order.load, names.builtin())
    for seed in order.seeds:
        spec = TestSpec(
            workload=order.workload,
            substrate="sim",
            seed=seed,
            time_limit_s=order.time_limit_s,
            options=order.options,
            load=order.load,
            nemesis=order.nemesis,
        )
        if order.nemesis == ("all",):
            spec = msgspec.structs.replace(spec, nemesis=names.inside_model(spec, catalog))
        told = _run(spec, catalog, Path(order.store))
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        sys.stdout.flush()


def _run(spec: Any, catalog: Any, store: Path) -> Told:
    from splitbrain.commands.run import run_spec
    from splitbrain.results.runs import read_run

    finished = run_spec(spec, catalog, store)
    run = read_run(finished.directory)
    elected = [e["time_ns"] for e in run.events if e["kind"] == "leader"]
    return Told(
        workload=spec.workload,
        seed=spec.seed,
        verdict=finished.verdict,
        summary=finished.sentence,
        succeeded=sum(1 for op in run.history if op.type == "ok"),
        faults=sum(1 for fault in run.faults if fault.f.startswith("start-")),
        hashes={name: _sha256(finished.directory / name) for name in FILES},
        elected=tuple(elected),
        disturbed=tuple(_disturbed(run.events, elected)),
    )


def _disturbed(events: Sequence[Any], elected: Sequence[int]) -> Sequence[tuple[str, str, int]]:
    """Steps towards an election after the first that was won."""
    if not elected:
        return ()
    return [
        (event["node"], event["kind"], event["time_ns"])
        for event in events
        if event["kind"] in ELECTING and event["time_ns"] > elected[0]
    ]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[1], type=Order)
    kept = _ballast(given.megabytes)
    _main(given)
