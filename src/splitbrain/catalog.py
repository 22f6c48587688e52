"""Names -> factories, and TestSpec -> Test: the only file that knows every plug-in.

To add a workload, system, substrate or model: one file in its room, one line here, one test.
A plug-in file given by ``--load FILE.py`` adds to the same tables: it defines any of

    WORKLOADS = {"my-register": make_workload}     # TestSpec -> Workload
    SYSTEMS = {"my-store": make_system}            # () -> System
    NEMESES = {"my-fault": MyFamily}               # (World) -> nemesis.base.Family
    SUBSTRATES = {"my-cloud": make_substrate}      # () -> Substrate
    OPTIONS = {"my-option": "what it does"}

A mistake in such a file, when it is loaded or when its factories are called, is told by file and
line.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.system import System
from splitbrain.contracts.test import Test
from splitbrain.contracts.testbed import Substrate
from splitbrain.contracts.workload import Workload
from splitbrain.errors import (
    PluginError,
    RequestError,
    SplitbrainError,
    UnknownName,
    Unsupported,
)
from splitbrain.loading import NAME, line_in, line_of, load_module
from splitbrain.nemesis.rotation import words_of
from splitbrain.options import (
    DESCRIBED,
    HARNESS_OPTIONS,
    NEMESIS_OPTIONS,
    SUBSTRATE_OPTIONS,
    WORKLOAD_OPTIONS,
    check_options,
    refuse_impossible_words,
    wants_one_way,
)

__all__ = [
    "Catalog",
    "builtin",
    "inside_model",
    "load",
    "make_system",
    "make_workload",
    "resolve",
]

Factory = Callable[..., Any]


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """Factories by name; ``described`` gives a line of words for each, for ``list``.

    ``families`` are the nemeses that came from outside.  ``judges`` are the models of ``check`` that
    are checkers of their own, and not models of linearizability.
    """

    workloads: Mapping[str, Factory]
    systems: Mapping[str, Factory]
    substrates: Mapping[str, Factory]
    models: Mapping[str, Factory]
    nemeses: Mapping[str, frozenset[Fault]]
    options: Mapping[str, str]
    judges: Mapping[str, Factory] = {}
    families: Mapping[str, Any] = {}
    described: Mapping[str, Mapping[str, str]] = {}


def _lazy(path: str) -> Factory:
    """A factory that imports its module when it is called: ``list`` must not load grpc."""

    def make(*arguments: Any, **named: Any) -> Any:
        module, _, name = path.partition(":")
        return getattr(importlib.import_module(module), name)(*arguments, **named)

    return make


OWN_CHECKERS = frozenset({"node-crash", "earned", "availability", "unhandled", "stats"})
"""Checkers that judge every run, beside those of its workload."""


_ON_TRANSACTIONS = {
    "append": "txn_micros:append",
    "wr": "txn_micros:wr",
    "txn-kv": "txn_micros:txn_kv",
    "bank": "bank:bank",
    "long-fork": "long_fork:long_fork",
    "monotonic": "monotonic:monotonic",
    "write-skew": "write_skew:write_skew",
    "snapshot-reads": "snapshots:snapshot_reads",
    "versioned": "snapshots:versioned",
    "lock": "lock:lock",
    "queue": "queue:queue",
    "txn-set": "txn_set:txn_set",
}
"""Workloads of the vocabulary ``txn``."""


def builtin() -> Catalog:
    """What splitbrain ships."""
    from splitbrain.cluster.config import KNOBS
    from splitbrain.cluster.pd.config import PD_KNOBS
    from splitbrain.nemesis.packages import PACKAGES, SINGLE, SYSTEM
    from splitbrain.substrates.sim.knobs import KNOBS as SIM_KNOBS

    return Catalog(
        workloads={
            "register": _lazy("splitbrain.workloads.register:register"),
            "cas-register": _lazy("splitbrain.workloads.cas_register:cas_register"),
            "kv": _lazy("splitbrain.workloads.kv:kv"),
            "set": _lazy("splitbrain.workloads.set:set_workload"),
            "unique-ids": _lazy("splitbrain.workloads.unique_ids:unique_ids"),
            **{
                name: _lazy(f"splitbrain.workloads.{path}")
                for name, path in _ON_TRANSACTIONS.items()
            },
        },
        systems={"minitikv": _lazy("splitbrain.systems.minitikv:Minitikv")},
        substrates={
            "sim": _lazy("splitbrain.substrates.sim:SimSubstrate"),
            "local": _lazy("splitbrain.substrates.local:LocalSubstrate"),
            "docker": _lazy("splitbrain.substrates.docker.substrate:DockerSubstrate"),
            "ssh": _lazy("splitbrain.substrates.ssh.substrate:SshSubstrate"),
        },
        models={
            name: partial(_lazy("splitbrain.checkers.linearizable.model:make_model"), name)
            for name in ("register", "cas-register", "kv")
        },
        judges={
            "set": _lazy("splitbrain.checkers.set_full:SetFullChecker"),
            "unique-ids": _lazy("splitbrain.checkers.unique_ids:UniqueIdsChecker"),
        },
        nemeses={**PACKAGES, **SINGLE, **SYSTEM},
        options={
            **HARNESS_OPTIONS,
            **NEMESIS_OPTIONS,
            **WORKLOAD_OPTIONS,
            **SUBSTRATE_OPTIONS,
            **SIM_KNOBS,
            **KNOBS,
            **PD_KNOBS,
            "lock-ttl-ms": "how long others respect the locks of a client that has gone silent",
            "read-from": "which store a client asks first: its bound one, or the leader it knows",
        },
        described=DESCRIBED,
    )


def resolve(spec: TestSpec, catalog: Catalog) -> Test:
    """The objects of a test; refuses what is malformed or impossible, before anything starts.

    Raises:
        UnknownName: a workload, system, substrate, fault, bug or option that nobody knows.
        RequestError: names that do not fit together.
        Unsupported: a workload whose vocabulary the system does not offer, or a fault that the
            substrate cannot inject, or that the testbed is too small for.
    """
    _check_numbers(spec)
    for name in spec.options:
        if name not in catalog.options:
            raise UnknownName("option", name, catalog.options)
    check_options(spec.options)
    workload = make_workload(spec, catalog)
    spec = msgspec.structs.replace(spec, vocabulary=workload.vocabulary)
    system = make_system(spec, catalog)
    if workload.vocabulary not in system.vocabularies:
        raise Unsupported(
            f"workload {spec.workload!r} needs the vocabulary {workload.vocabulary!r}, which "
            f"{spec.system} does not offer"
        )
    for check in words_of(spec.options.get("check", "")):
        if check not in getattr(system, "checks", ()):  # a system need not know of any
            raise Unsupported(f"--check {check}: {spec.system} has no way to tell")
    for bug in spec.bugs:
        if bug not in system.bugs:
            raise UnknownName("bug", bug, system.bugs)
    system.validate(spec)
    substrate = _make_substrate(spec, catalog)
    asked = _asked(spec, catalog)
    here, missing = _abilities(spec, substrate)
    _refuse_impossible(spec, catalog, here, missing)
    refuse_impossible_words(spec, here, missing)
    _refuse_missing_levers(spec, system)
    possible = asked & here
    outside = frozenset(kind for kind in possible if kind not in system.fault_model)

    from splitbrain.nemesis.packages import make_packages

    return Test(
        spec=spec,
        workload=workload,
        system=system,
        substrate=substrate,
        packages=partial(make_packages, own=catalog.families),
        faults=(here & frozenset(system.fault_model)) | possible,
        outside=outside,
    )


def _refuse_missing_levers(spec: TestSpec, system: System) -> None:
    from splitbrain.nemesis.levers import refuse_missing_levers

    refuse_missing_levers(spec, system.admin_actions)


def make_workload(spec: TestSpec, catalog: Catalog) -> Workload:
    """The workload of a spec alone: enough to judge a run again."""
    workload: Workload = _make("workload", spec.workload, catalog.workloads, spec.load, spec)
    taken = sorted(OWN_CHECKERS & workload.checkers.keys())
    if taken:
        raise RequestError(
            f"workload {spec.workload!r}: a checker named {taken[0]!r} judges every run; "
            "give the workload's own another name"
        )
    if "replicas" in words_of(spec.options.get("check", "")):
        from splitbrain.workloads.replicas import with_replicas

        return with_replicas(workload)
    return workload


def make_system(spec: TestSpec, catalog: Catalog) -> System:
    """The system of a spec alone."""
    system: System = _make("system", spec.system, catalog.systems, spec.load)
    return system


def _make_substrate(spec: TestSpec, catalog: Catalog) -> Substrate:
    made: Substrate = _make("substrate", spec.substrate, catalog.substrates, spec.load)
    return made


def _make(
    kind: str, name: str, table: Mapping[str, Factory], load: Iterable[str], *given: Any
) -> Any:
    """What the factory of that name makes; what it raises is told, in plug-ins by file and line."""
    if name not in table:
        raise UnknownName(kind, name, table)
    try:
        return table[name](*given)
    except SplitbrainError:
        raise
    except Exception as error:
        for path in load:
            line = line_in(path, error)
            if line is not None:
                problem = f"{kind} {name!r} cannot be made: {type(error).__name__}: {error}"
                raise PluginError(path, line, problem) from error
        raise


def _check_numbers(spec: TestSpec) -> None:
    if spec.concurrency < 1:
        raise RequestError(f"--concurrency {spec.concurrency} must be at least 1")
    if not 0 < spec.time_limit_s < math.inf:
        raise RequestError(f"--time-limit {spec.time_limit_s:g} must be a positive number")
    if not 0 <= spec.rate_hz < math.inf:
        raise RequestError(f"--rate {spec.rate_hz:g} must be a number, 0 (no limit) or more")
    interval_s = spec.nemesis_interval_s
    if interval_s is not None and not 0 < interval_s < math.inf:
        raise RequestError(f"--nemesis-interval {interval_s:g} must be a positive number")
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
    return frozenset(kinds | {Fault.ONE_WAY} if wants_one_way(spec) else kinds)


def _abilities(
    spec: TestSpec, substrate: Substrate
) -> tuple[frozenset[Fault], Mapping[Fault, str]]:
    """The faults possible under this spec's options, and for the others what would help."""
    lost = substrate.impossible(spec)
    return substrate.supports - frozenset(lost), {**substrate.missing, **lost}


def _refuse_impossible(
    spec: TestSpec, catalog: Catalog, here: frozenset[Fault], missing: Mapping[Fault, str]
) -> None:
    """A package of which nothing is possible here is refused; of others, what is possible runs."""
    for name in spec.nemesis:
        kinds = catalog.nemeses[name]
        if kinds and not kinds & here:
            why = missing.get(min(kinds), "no substrate of this version has it")
            raise Unsupported(f"fault {name!r} is not possible on {spec.substrate}: {why}")
    from splitbrain.nemesis.packages import LEGEND

    own = {f"start-{fault}" for family in catalog.families.values() for fault in family.faults}
    for fault in spec.schedule:
        word = fault.f.partition("-")[2]
        if f"start-{word}" not in {*LEGEND, *own} and fault.f != "heal-all":
            raise UnknownName("scheduled fault", fault.f, [*LEGEND, *sorted(own)])
        if word in Fault._value2member_map_ and Fault(word) not in here:
            why = missing.get(Fault(word), "no substrate of this version has it")
            raise Unsupported(f"scheduled fault {fault.f!r} on {spec.substrate}: {why}")


def inside_model(spec: TestSpec, catalog: Catalog) -> tuple[str, ...]:
    """What ``--nemesis all`` means: every package possible here and inside the fault model."""
    from splitbrain.nemesis.packages import PACKAGES

    here, _ = _abilities(spec, _make_substrate(spec, catalog))
    inside = here & frozenset(make_system(spec, catalog).fault_model)
    return tuple(name for name, kinds in PACKAGES.items() if kinds & inside)


def load(paths: Iterable[str], catalog: Catalog) -> Catalog:
    """The catalogue with the plug-ins of some files added.

    Raises:
        PluginError: a file that does not load; names its file and line.
    """
    for path in paths:
        module = load_module(Path(path))
        changes: dict[str, Any] = {}
        for table in ("workloads", "systems", "substrates", "options", "nemeses"):
            added = getattr(module, table.upper(), {})
            if not isinstance(added, Mapping):
                line = line_of(Path(path), table.upper())
                kind = type(added).__name__
                raise PluginError(path, line, f"{table.upper()} must be a mapping, not {kind}")
            for name, factory in added.items():
                line = line_of(Path(path), table.upper())
                if not isinstance(name, str) or not NAME.fullmatch(name):
                    problem = f"{table.upper()}: {name!r} is no name (such as my-register)"
                    raise PluginError(path, line, problem)
                if table != "options" and not callable(factory):
                    raise PluginError(path, line, f"{table.upper()}[{name!r}] is not callable")
                if table == "nemeses" and not isinstance(
                    getattr(factory, "faults", None), frozenset
                ):
                    raise PluginError(path, line, f"NEMESES[{name!r}] has no frozenset faults")
            if table == "nemeses":
                changes["families"] = {**catalog.families, **added}
                added = {name: frozenset[Fault]() for name in added}
            changes[table] = {**getattr(catalog, table), **added}
        catalog = msgspec.structs.replace(catalog, **changes)
    return catalog
