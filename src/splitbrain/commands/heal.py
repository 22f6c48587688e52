"""``splitbrain heal``: undo whatever killed runs have left on this machine."""

from __future__ import annotations

from splitbrain.substrates.heal import HealReport, heal

__all__ = ["HealReport", "heal_all"]


def heal_all() -> HealReport:
    """Undo, by the journals, what runs whose tool is dead have left; touch nothing else."""
    return heal()
