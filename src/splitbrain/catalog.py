"""Names -> factories, and TestSpec -> Test: the only file that knows every plug-in.

To add a workload, system, substrate or model: one file in its room, one line here, one test.
A plug-in file given by ``--load FILE.py`` adds to the same tables: it defines any of

    WORKLOADS = {"my-register": make_workload}     # TestSpec -> Workload
    SYSTEMS = {"my-store": make_system}            # () -> System
    SUBSTRATES = {"my-cloud": make_substrate}      # () -> Substrate
    OPTIONS = {"my-option": "what it does"}
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.system import System
from splitbrain.contracts.test import Test
from splitbrain.contracts.testbed import Substrate
from splitbrain.contracts.workload import Workload
from splitbrain.errors import PluginError, RequestError, UnknownName, Unsupported

__all__ = ["Catalog", "builtin", "inside_model", "load", "resolve"]

Factory = Callable[..., Any]


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """Factories by name; ``described`` gives a line of words for each, for ``list``."""

    workloads: Mapping[str, Factory]
    systems: Mapping[str, Factory]
    substrates: Mapping[str, Factory]
    models: Mapping[str, Factory]
    nemeses: Mapping[str, frozenset[Fault]]
    options: Mapping[str, str]
    described: Mapping[str, Mapping[str, str]] = {}


def _lazy(path: str) -> Factory:
    """A factory that imports its module when it is called: ``list`` must not load grpc."""

    def make(*arguments: Any, **named: Any) -> Any:
        module, _, name = path.partition(":")
        return getattr(importlib.import_module(module), name)(*arguments, **named)

    return make


HARNESS_OPTIONS: Mapping[str, str] = {
    "scale": "multiplies all protocol times of the system (1/3 by default: election timeout 1 s)",
    "op-timeout": "seconds a client waits for one operation (default 2 T)",
    "ready-seconds": "longest wait until the system serves (default 60)",
    "recovery-seconds": "longest final phase (default 30)",
    "answered-share": "share of operations outside fault bands that must be answered (0.9)",
    "unproven-share": "share of a fault's applications that may lack proof (0.2)",
    "check-seconds": "budget of the checkers (60)",
}

WORKLOAD_OPTIONS: Mapping[str, str] = {
    "keys": "keys in use at once",
    "read-share": "share of reads (register)",
    "values": "number of distinct values (cas-register)",
    "ops-per-key-min": "fewest operations of a key",
    "ops-per-key-max": "most operations of a key",
}

SUBSTRATE_OPTIONS: Mapping[str, str] = {
    "keep-data": "local: keep the nodes' data after the run",
    "proxies": "local: false lets nodes dial each other directly; links cannot be faulted then",
    "clients": "local: cut puts a proxy before each node for our clients too",
    "cut-mode": "local: hold, reset or mixed: what a cut does to connections",
}


def builtin() -> Catalog:
    """What splitbrain ships."""
    from splitbrain.cluster.config import KNOBS
    from splitbrain.nemesis.packages import PACKAGES, SINGLE
    from splitbrain.substrates.sim.knobs import KNOBS as SIM_KNOBS

    return Catalog(
        workloads={
            "register": _lazy("splitbrain.workloads.register:register"),
            "cas-register": _lazy("splitbrain.workloads.cas_register:cas_register"),
        },
        systems={"minitikv": _lazy("splitbrain.systems.minitikv:Minitikv")},
        substrates={
            "sim": _lazy("splitbrain.substrates.sim:SimSubstrate"),
            "local": _lazy("splitbrain.substrates.local:LocalSubstrate"),
        },
        models={
            name: partial(_lazy("splitbrain.checkers.linearizable.model:make_model"), name)
            for name in ("register", "cas-register", "kv")
        },
        nemeses={**PACKAGES, **SINGLE},
        options={
            **HARNESS_OPTIONS,
            **WORKLOAD_OPTIONS,
            **SUBSTRATE_OPTIONS,
            **SIM_KNOBS,
            **KNOBS,
            "read-from": "which store a client asks first: its bound one, or the leader it knows",
        },
        described=_DESCRIBED,
    )


_DESCRIBED: Mapping[str, Mapping[str, str]] = {
    "workloads": {
        "register": "reads and writes of distinct values on a sliding window of keys",
        "cas-register": "reads, writes and compare-and-swaps over five values",
    },
    "systems": {"minitikv": "the bundled Raft key-value cluster, shaped like TiKV"},
    "substrates": {
        "sim": "one process, virtual clock, deterministic by seed",
        "local": "operating-system processes on this machine; no root, no Docker",
    },
    "models": {
        "register": "one value: read, write",
        "cas-register": "one value: read, write, compare-and-swap",
        "kv": "a value a key: read, write, delete, append, compare-and-swap",
    },
    "nemeses": {
        "partition": "cuts links: halves, the leader alone, bridge, ring, one-way",
        "kill": "SIGKILL; restarted later",
        "power": "kill, and bytes not fsynced are lost",
        "pause": "SIGSTOP; resumed later",
        "clock": "jumps, strobes and drift of clocks",
        "network": "delay, loss, duplication, reordering of messages",
        "delay": "messages come late",
        "loss": "messages are lost",
        "duplication": "messages come twice",
        "reordering": "messages overtake each other",
    },
    "checkers": {
        "linearizable": "each operation takes effect at one moment between its call and its return",
        "node-crash": "no node ended by itself, no core assertion failed",
        "earned": "the run was a test at all: successes, faults with effect, progress",
        "stats": "counts by function and outcome",
    },
}


def resolve(spec: TestSpec, catalog: Catalog) -> Test:
    """The objects of a test; refuses what is malformed or impossible, before anything starts.

    Raises:
        UnknownName: a workload, system, substrate, fault, bug or option that nobody knows.
        RequestError: names that do not fit together.
        Unsupported: a fault that the substrate cannot inject.
    """
    _check_numbers(spec)
    workload = make_workload(spec, catalog)
    system: System = _find("system", spec.system, catalog.systems)()
    if workload.vocabulary not in system.vocabularies:
        raise RequestError(
            f"workload {spec.workload!r} needs the vocabulary {workload.vocabulary!r}, which "
            f"{spec.system} does not offer"
        )
    for name in spec.options:
        if name not in catalog.options:
            raise UnknownName("option", name, catalog.options)
    for bug in spec.bugs:
        if bug not in system.bugs:
            raise UnknownName("bug", bug, system.bugs)
    system.validate(spec)
    substrate: Substrate = _find("substrate", spec.substrate, catalog.substrates)()
    asked = _asked(spec, catalog)
    _refuse_impossible(spec, asked, substrate)
    possible = asked & substrate.supports
    outside = frozenset(kind for kind in possible if kind not in system.fault_model)

    from splitbrain.nemesis.packages import make_packages

    return Test(
        spec=spec,
        workload=workload,
        system=system,
        substrate=substrate,
        packages=make_packages,
        faults=(substrate.supports & frozenset(system.fault_model)) | possible,
        outside=outside,
    )


def make_workload(spec: TestSpec, catalog: Catalog) -> Workload:
    """The workload of a spec alone: enough to judge a run again."""
    workload: Workload = _find("workload", spec.workload, catalog.workloads)(spec)
    return workload


def _find(kind: str, name: str, table: Mapping[str, Factory]) -> Factory:
    if name not in table:
        raise UnknownName(kind, name, table)
    return table[name]


def _check_numbers(spec: TestSpec) -> None:
    if spec.concurrency < 1:
        raise RequestError(f"--concurrency {spec.concurrency} must be at least 1")
    if spec.time_limit_s <= 0:
        raise RequestError(f"--time-limit {spec.time_limit_s} must be positive")
    if spec.rate_hz < 0:
        raise RequestError(f"--rate {spec.rate_hz} must not be negative")
    if not spec.nodes:
        raise RequestError("--nodes must be at least 1")
    if len(set(spec.nodes)) != len(spec.nodes):
        raise RequestError(f"a node is named twice: {', '.join(spec.nodes)}")


def _asked(spec: TestSpec, catalog: Catalog) -> frozenset[Fault]:
    kinds: set[Fault] = set()
    for name in spec.nemesis:
        if name not in catalog.nemeses:
            raise UnknownName("fault", name, [*catalog.nemeses, "all", "none"])
        kinds |= catalog.nemeses[name]
    return frozenset(kinds)


def _refuse_impossible(spec: TestSpec, asked: frozenset[Fault], substrate: Substrate) -> None:
    """A package of which nothing is possible here is refused; of others, what is possible runs."""
    from splitbrain.nemesis.packages import PACKAGES, SINGLE

    for name in spec.nemesis:
        kinds = {**PACKAGES, **SINGLE}[name]
        if kinds & substrate.supports:
            continue
        kind = min(kinds)
        why = substrate.missing.get(kind, "no substrate of this version has it")
        raise Unsupported(f"fault {name!r} is not possible on {spec.substrate}: {why}")
    for fault in spec.schedule:
        word = fault.f.partition("-")[2]
        if word in Fault._value2member_map_ and Fault(word) not in substrate.supports:
            why = substrate.missing.get(Fault(word), "no substrate of this version has it")
            raise Unsupported(f"scheduled fault {fault.f!r} on {spec.substrate}: {why}")


def inside_model(spec: TestSpec, catalog: Catalog) -> tuple[str, ...]:
    """What ``--nemesis all`` means: every package possible here and inside the fault model."""
    from splitbrain.nemesis.packages import PACKAGES

    system: System = _find("system", spec.system, catalog.systems)()
    substrate: Substrate = _find("substrate", spec.substrate, catalog.substrates)()
    inside = substrate.supports & frozenset(system.fault_model)
    return tuple(name for name, kinds in PACKAGES.items() if kinds & inside)


def load(paths: Iterable[str], catalog: Catalog) -> Catalog:
    """The catalogue with the plug-ins of some files added.

    Raises:
        PluginError: a file that does not load; names its file and line.
    """
    for path in paths:
        module = _load_module(Path(path))
        changes: dict[str, Any] = {}
        for table in ("workloads", "systems", "substrates", "options"):
            added = getattr(module, table.upper(), {})
            if not isinstance(added, Mapping):
                line = _line_of(Path(path), table.upper())
                kind = type(added).__name__
                raise PluginError(path, line, f"{table.upper()} must be a mapping, not {kind}")
            for name, factory in added.items():
                if table != "options" and not callable(factory):
                    line = _line_of(Path(path), table.upper())
                    raise PluginError(path, line, f"{table.upper()}[{name!r}] is not callable")
            changes[table] = {**getattr(catalog, table), **added}
        catalog = msgspec.structs.replace(catalog, **changes)
    return catalog


def _load_module(path: Path) -> ModuleType:
    if not path.is_file():
        raise PluginError(path, None, "no such file; --load takes a Python file")
    name = f"splitbrain_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(path, None, "not a Python file; --load takes FILE.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise PluginError(path, error.lineno, f"syntax error: {error.msg}") from error
    except Exception as error:
        frames = [
            f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)
        ]
        line = frames[-1].lineno if frames else None
        raise PluginError(path, line, f"{type(error).__name__}: {error}") from error
    return module


def _line_of(path: Path, name: str) -> int | None:
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        if line.startswith(name):
            return number
    return None
