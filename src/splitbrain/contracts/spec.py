"""What a test is, as pure data: enough to run it again, and on ``sim`` to run it identically.

>>> spec = TestSpec(workload="register", substrate="sim", seed=7)
>>> spec.nodes
('n1', 'n2', 'n3', 'n4', 'n5')
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["FORMAT", "LeftOut", "ScheduledFault", "TestSpec"]

FORMAT = 1
"""Version of a run directory's layout; a reader refuses a higher one (NewerStore)."""

Scalar = str | int | float | bool


class ScheduledFault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of ``faults.jsonl``, and of a schedule file: a fault at a time.

    Attributes:
        time_ns: nanoseconds since the test began.
        f: the nemesis function, such as ``start-partition`` or ``stop-kill``.
        targets: node names, or role words (``leader``, ``follower``) resolved when it happens.
        parameters: what else the fault needs, such as ``{"cut": [["n1", "n2"]]}``.
        id: joins a start and its stop.
    """

    time_ns: int
    f: str
    targets: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = {}
    id: str = ""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A scheduled fault that the test does without, as ``--skip-unsupported`` allows.

    Attributes:
        fault: as it was scheduled; its stop is left out with it.
        lacks: what it needs, such as ``loss``.
        why: what would make that possible.
    """

    fault: ScheduledFault
    lacks: str
    why: str


class TestSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Names and options of everything in one test.

    Attributes:
        nodes: names of the nodes of the testbed, in order.
        concurrency: number of workers (threads, in Jepsen's words).
        rate_hz: invocations a second over all workers; 0 means as fast as they can.
        time_limit_s: length of the main phase, in seconds of the substrate's clock.
        nemesis: fault packages asked for by name; empty for none.
        nemesis_interval_s: mean seconds between nemesis operations; None: 5 election timeouts.
        bugs: seeded bugs switched on in the system.
        options: everything else by name (``scale``, ``op-timeout``, knobs, workload options).
        schedule: faults at fixed times instead of, or beside, random ones.
        left_out: faults of the schedule's file that the substrate lacks, and that were left out.
        load: plug-in files.
        vocabulary: what the workload speaks; filled in when its name is resolved.
    """

    workload: str
    system: str = "minitikv"
    substrate: str = "local"
    nodes: tuple[str, ...] = ("n1", "n2", "n3", "n4", "n5")
    concurrency: int = 10
    rate_hz: float = 100.0
    time_limit_s: float = 60.0
    nemesis: tuple[str, ...] = ()
    nemesis_interval_s: float | None = None
    seed: int = 0
    bugs: tuple[str, ...] = ()
    options: Mapping[str, Scalar] = {}
    schedule: tuple[ScheduledFault, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    load: tuple[str, ...] = ()
    vocabulary: str = "kv"
    format: int = FORMAT
