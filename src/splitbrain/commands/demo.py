"""``splitbrain demo``: the main job on real nodes, once right and once with a seeded bug.

The first run is a correct minitikv under partitions and kills: valid.  The second acknowledges a
write as soon as the leader has it in its own log; its leader is cut off again and again, so that
acknowledged writes are lost: invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.catalog import Catalog
from splitbrain.checkers.verdict import Verdict
from splitbrain.commands.judge import worst_exit
from splitbrain.commands.run import Finished, run_spec
from splitbrain.contracts.spec import ScheduledFault, TestSpec

__all__ = ["Part", "demo_parts", "run_demo"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the demo and the verdict that it should give."""

    title: str
    spec: TestSpec
    expect: Verdict


def demo_parts(*, seconds: float = 20.0, seed: int = 1, on: str = "local") -> tuple[Part, Part]:
    """The two runs, on the substrate of that name."""
    correct = TestSpec(
        workload="register",
        substrate=on,
        nemesis=("partition", "kill"),
        nemesis_interval_s=3.0,
        time_limit_s=seconds,
        seed=seed,
    )
    broken = TestSpec(
        workload="register",
        substrate=on,
        bugs=("ack-on-append",),
        schedule=tuple(_isolate_leader(seconds)),
        time_limit_s=seconds,
        seed=seed,
    )
    return (
        Part(
            title="minitikv as it is, under partitions and kills", spec=correct, expect="valid"
        ),
        Part(
            title="minitikv that acknowledges a write before a majority has it, its leader cut off",
            spec=broken,
            expect="invalid",
        ),
    )


def _isolate_leader(seconds: float) -> Iterator[ScheduledFault]:
    """Cut the leader off for 3 s, again and again, 3 s apart."""
    begin, number = 3.0, 1
    while begin + 3.0 < seconds:
        id_ = f"partition-{number}"
        yield ScheduledFault(
            time_ns=int(begin * 1e9),
            f="start-partition",
            parameters={"shape": "isolate-leader"},
            id=id_,
        )
        yield ScheduledFault(time_ns=int((begin + 3.0) * 1e9), f="stop-partition", id=id_)
        begin, number = begin + 6.0, number + 1


def run_demo(
    catalog: Catalog,
    store: Path,
    parts: Sequence[Part],
    *,
    told: Callable[[Part, Finished], None],
    begun: Callable[[Part], Callable[[Any], None] | None],
    own_process: bool = False,
) -> int:
    """Run the parts one after the other.

    Returns:
        0 when each gave the verdict expected of it; 1 when one expected valid is invalid, or one
        expected invalid is valid; 3 when one was left unknown, or a signal ended it.
    """
    codes = []
    for part in parts:
        finished = run_spec(
            part.spec, catalog, store, progress=begun(part), own_process=own_process
        )
        told(part, finished)
        if finished.verdict == part.expect:
            codes.append(0)
        else:
            codes.append(3 if "unknown" in (finished.verdict, part.expect) else 1)
        if finished.interrupted:
            break
    if len(codes) < len(parts):
        codes.append(3)  # what did not run gave no verdict
    return worst_exit(codes)
