"""Directed schedules: bugs that random faults seldom reach, reached by a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from splitbrain.contracts.spec import ScheduledFault

__all__ = ["SCHEDULES"]

SCHEDULES: Mapping[str, Sequence[ScheduledFault]] = {}
"""By name, as in ``--faults NAME``."""
