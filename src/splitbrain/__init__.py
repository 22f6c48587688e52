"""splitbrain: does a distributed system keep its promises when networks split and nodes die?

The public names are loaded lazily (PEP 562), because a node process of the bundled cluster imports
this package too and must not pay for numpy or networkx.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "History": "splitbrain.history.history",
    "Op": "splitbrain.history.op",
    "Result": "splitbrain.checkers.verdict",
    "TestSpec": "splitbrain.contracts.spec",
    "fault": "splitbrain.nemesis.own",
}

__all__ = ["History", "Op", "Result", "TestSpec", "__version__", "fault"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'splitbrain' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
