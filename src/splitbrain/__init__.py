"""splitbrain: does a distributed system keep its promises when networks split and nodes die?

The public names are loaded lazily (PEP 562), because a node process of the bundled cluster imports
this package too and must not pay for numpy or networkx.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Definite": "splitbrain.errors",
    "Fault": "splitbrain.contracts.fault",
    "History": "splitbrain.history.history",
    "KvClient": "splitbrain.workloads.kv_client",
    "Limit": "splitbrain.contracts.fault",
    "LinearizableChecker": "splitbrain.checkers.linearizable.checker",
    "Op": "splitbrain.history.op",
    "Program": "splitbrain.contracts.testbed",
    "ProgramSystem": "splitbrain.systems.program",
    "Result": "splitbrain.checkers.verdict",
    "TestSpec": "splitbrain.contracts.spec",
    "Undetermined": "splitbrain.errors",
    "Workload": "splitbrain.contracts.workload",
    "fault": "splitbrain.nemesis.own",
    "kv_ops": "splitbrain.workloads.kv",
}

__all__ = [
    "Definite",
    "Fault",
    "History",
    "KvClient",
    "Limit",
    "LinearizableChecker",
    "Op",
    "Program",
    "ProgramSystem",
    "Result",
    "TestSpec",
    "Undetermined",
    "Workload",
    "__version__",
    "fault",
    "kv_ops",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'splitbrain' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
