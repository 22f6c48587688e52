"""``splitbrain list``: what there is, by name, with a line of words each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from splitbrain.catalog import Catalog
from splitbrain.contracts.system import Bug, System
from splitbrain.errors import UnknownName

__all__ = ["BUG_FIELDS", "FIELDS", "KINDS", "bug_command", "listing"]

KINDS = (
    "workloads",
    "nemeses",
    "checkers",
    "models",
    "systems",
    "substrates",
    "bugs",
    "options",
)

FIELDS = ("name", "description")
BUG_FIELDS = ("name", "id", "found", "anomalies", "command")
"""What the rows hold."""


def listing(kind: str, catalog: Catalog) -> Sequence[tuple[str, ...]]:
    """Rows of (name, words), for bugs of (name, id, found in n of m seeds, anomalies, command)."""
    if kind not in KINDS:
        raise UnknownName("kind of list", kind, KINDS)
    if kind == "bugs":
        return [
            (
                bug.name,
                bug.id,
                f"{bug.share}/{bug.tried}",
                ", ".join(bug.anomalies),
                bug_command(bug),
            )
            for name in sorted(catalog.systems)
            for bug in _bugs(catalog.systems[name]())
        ]
    if kind == "options":
        return sorted(catalog.options.items())
    words: Mapping[str, str] = catalog.described.get(kind, {})
    names = getattr(catalog, kind, words)
    if kind == "models":
        names = {**names, **catalog.judges}
    return [(name, words.get(name, "")) for name in names]


def _bugs(system: System) -> Sequence[Bug]:
    return sorted(system.bugs.values(), key=lambda bug: (bug.id[0], int(bug.id[1:])))


def bug_command(bug: Bug, *, seed: int | str = "N") -> str:
    """The command that finds a seeded bug."""
    parts = ["splitbrain run", bug.workload, "--on sim", f"--bug {bug.name}"]
    if bug.nemesis:
        parts.append(f"--nemesis {','.join(bug.nemesis)}")
    if bug.schedule:
        parts.append(f"--faults {bug.schedule}")
    flags = {
        "time_limit_s": "--time-limit",
        "nemesis_interval_s": "--nemesis-interval",
        "concurrency": "--concurrency",
        "rate_hz": "--rate",
    }
    for field, value in bug.spec.items():
        if field == "nodes":
            parts.append(f"--nodes {len(value)}")
        else:
            parts.append(f"{flags[field]} {value:g}")
    parts += [f"--option {name}={value}" for name, value in bug.options.items()]
    parts.append(f"--seed {seed}")
    return " ".join(parts)
