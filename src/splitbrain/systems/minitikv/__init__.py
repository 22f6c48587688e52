"""minitikv on a testbed: how its stores are started, its clients made, and its faults bounded."""

from __future__ import annotations

from splitbrain.systems.minitikv.system import Minitikv

__all__ = ["Minitikv"]
