"""Can this test carry out that schedule?  Asked of every fault of it before anything starts.

A schedule that was recorded on one substrate is replayed on another, which may lack some of its
faults, by a test that may have other nodes.  What makes no sense is a mistake of the file, and told
with its line (exit 2).  What makes sense but is not possible here is told all at once, with what
would make it possible (exit 4), or is left out, with its stops, if the user says so.

    loss at line 2 on ``local``         ->  Unsupported, or left out
    ["n1", "n9"] at line 3, five nodes  ->  MalformedFile
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from splitbrain.catalog import Catalog, resolve
from splitbrain.checkers.bands import ONE_SHOT
from splitbrain.commands.schedule import Entry, Schedule
from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import LeftOut, ScheduledFault, TestSpec
from splitbrain.errors import HarnessError, UnknownName, Unsupported
from splitbrain.nemesis.base import LEAST_NODES, ROLES
from splitbrain.nemesis.packages import LEGEND
from splitbrain.nemesis.partition import NEED_FOUR, ONE_WAY, SHAPES, given_cut

__all__ = ["fit"]

_SIZES: Mapping[str, Fault] = {
    "delay_ms": Fault.DELAY,
    "jitter_ms": Fault.DELAY,
    "loss": Fault.LOSS,
    "duplicate": Fault.DUPLICATION,
    "reorder": Fault.REORDERING,
    "corrupt": Fault.CORRUPTION,
    "rate_kbps": Fault.RATE,
}
"""Any fault of links may have any of these sizes; one above 0 needs its kind."""

_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "clock-jump": ("delta_ms",),
    "clock-strobe": ("delta_ms", "period_ms"),
    "clock-drift": ("rate",),
    "disk-slow": ("extra_ms",),
}
"""Parameters without which a fault is none."""

_KINDS = frozenset(Fault)
_CLIENT = "client"
_SHOWN = 8


def fit(
    schedule: Schedule, spec: TestSpec, catalog: Catalog, *, skip: bool
) -> tuple[tuple[ScheduledFault, ...], tuple[LeftOut, ...]]:
    """The faults that the test carries out, and those that it does without.

    Args:
        schedule: as it was written.
        spec: the test but for its schedule.
        catalog: knows the substrate, the system and faults of plug-ins.
        skip: leave out what is not possible here, in place of refusing.

    Raises:
        MalformedFile: a fault, node, shape, action or size that makes no sense.
        Unsupported: faults that are not possible here; names them all, with their lines.
        RequestError: the spec itself is malformed.
    """
    test = resolve(spec, catalog)
    own = frozenset(fault for family in catalog.families.values() for fault in family.faults)
    _refuse_nonsense(schedule, spec.nodes, own, test.system.admin_actions)
    lost = test.substrate.impossible(spec)
    here = test.substrate.supports - frozenset(lost)
    missing = {**test.substrate.missing, **lost}
    kept: list[ScheduledFault] = []
    out: list[tuple[Entry, LeftOut]] = []
    gone: set[str] = set()
    for entry in schedule.entries:
        fault = entry.fault
        lack = None if _word(fault) in own else _lack(fault, spec.nodes, here, missing)
        starts = fault.f.startswith("start-")
        if not starts and fault.id in gone:
            continue
        if lack is None:
            kept.append(fault)
            gone.discard(fault.id)
            continue
        lacks, why = lack
        out.append((entry, LeftOut(fault=fault, lacks=lacks, why=why)))
        if starts and fault.id:
            gone.add(fault.id)
    if out and not skip:
        raise _unsupported(schedule, spec, out)
    return tuple(kept), schedule.left_out + tuple(left for _, left in out)


def _word(fault: ScheduledFault) -> str:
    return fault.f.partition("-")[2]


def _unsupported(
    schedule: Schedule, spec: TestSpec, out: list[tuple[Entry, LeftOut]]
) -> Unsupported:
    """One line: what is lacking, at which lines, and for each reason what would help."""
    reasons: dict[str, dict[str, list[int]]] = {}
    for entry, left in out:
        reasons.setdefault(left.why, {}).setdefault(left.lacks, []).append(entry.place)
    told = []
    for why, kinds in reasons.items():
        named = [f"{name} ({_places(schedule, places)})" for name, places in kinds.items()]
        told.append(f"{', '.join(named)}: {why}")
    return Unsupported(
        f"scheduled faults of {schedule.name} that are not possible on {spec.substrate}: "
        f"{'; '.join(told)}; --skip-unsupported leaves them out"
    )


def _places(schedule: Schedule, places: list[int]) -> str:
    """Such as ``lines 2, 5``."""
    noun = "line" if schedule.lined else "fault"
    shown = ", ".join(str(place) for place in sorted(places)[:_SHOWN])
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return f"{noun}{'' if len(places) == 1 else 's'} {shown}{more}"


# --- what is not possible here --------------------------------------------------------------------


def _lack(
    fault: ScheduledFault,
    nodes: tuple[str, ...],
    here: frozenset[Fault],
    missing: Mapping[Fault, str],
) -> tuple[str, str] | None:
    """What a fault needs and cannot have, and what would help; None if it is possible."""
    for kind in sorted(_needs(fault, nodes) - here):
        return kind.value, missing.get(kind, "no substrate of this version has it")
    least = {**LEAST_NODES, **dict.fromkeys(NEED_FOUR, 4)}
    words = list(fault.targets)
    if _word(fault) == "partition" and "cut" not in fault.parameters:
        words.append(str(fault.parameters.get("shape", "")))
    for word in words:
        if word not in nodes and len(nodes) < least.get(word, 1):
            why = f"it needs {least[word]} nodes or more, and this test has {len(nodes)}"
            return f"{_word(fault)} {word}", why
    return None


def _needs(fault: ScheduledFault, nodes: tuple[str, ...]) -> frozenset[Fault]:
    """The kinds that a well-formed fault consists of."""
    word, parameters = _word(fault), fault.parameters
    kinds = {Fault(word)} if word in _KINDS else set()
    links: tuple[tuple[str, str], ...] = ()
    if word == "partition":
        cut = given_cut(parameters, nodes)
        links = cut or ()
        one_way = cut is None and not fault.targets and parameters.get("shape") in ONE_WAY
        if one_way or any((j, i) not in set(links) for i, j in links):
            kinds.add(Fault.ONE_WAY)
    else:
        links = tuple((i, j) for i, j in parameters.get("links") or ())
        kinds.update(kind for name, kind in _SIZES.items() if parameters.get(name, 0) > 0)
        if parameters.get("clients"):
            kinds.add(Fault.CLIENT_LINKS)
    if any(_CLIENT in link for link in links):
        kinds.add(Fault.CLIENT_LINKS)
    return frozenset(kinds)


# --- what makes no sense --------------------------------------------------------------------------


def _refuse_nonsense(
    schedule: Schedule,
    nodes: tuple[str, ...],
    own: frozenset[str],
    actions: Collection[str],
) -> None:
    """Raise for the first entry that makes no sense, and say how many more there are."""
    found = [
        (entry.place, problem)
        for entry in schedule.entries
        for problem in _problems(entry.fault, nodes, own, actions)
    ]
    if not found:
        return
    found.sort(key=lambda one: one[0])
    place, problem = found[0]
    others = sorted({other for other, _ in found} - {place})
    if others:
        problem += f" (and {_places(schedule, others)} too)"
    raise schedule.malformed(place, problem)


def _problems(
    fault: ScheduledFault,
    nodes: tuple[str, ...],
    own: frozenset[str],
    actions: Collection[str],
) -> Iterator[str]:
    word = _word(fault)
    known = {*LEGEND, *(f"start-{name}" for name in own)}
    if fault.f == "heal-all":
        return
    if f"start-{word}" not in known or fault.f.startswith("heal-"):
        yield str(UnknownName("scheduled fault", fault.f, known))
        return
    if fault.f.startswith("stop-") and word in ONE_SHOT:
        yield f"{fault.f}: {word} is over at once and has no stop"
    if word in own:
        return  # its targets and parameters are the plug-in's own matter
    for target in fault.targets:
        if target not in nodes and target not in ROLES:
            yield str(UnknownName("node", target, [*nodes, *ROLES]))
    yield from _parameter_problems(word, fault, nodes, actions)


def _parameter_problems(
    word: str, fault: ScheduledFault, nodes: tuple[str, ...], actions: Collection[str]
) -> Iterator[str]:
    parameters = fault.parameters
    if word == "partition":
        yield from _partition_problems(parameters, nodes)
        return
    yield from _link_problems(parameters, nodes)
    yield from _number_problems(word, parameters, [n for n in _SIZES if n in parameters])
    if word in _NUMBERS and fault.f.startswith("start-"):
        yield from _number_problems(word, parameters, _NUMBERS[word])
    elif word == "admin":
        action = str(parameters.get("action", "status"))
        if action not in actions:
            yield str(UnknownName("admin action", action, actions))
        to = parameters.get("to")
        if to is not None and to not in nodes:
            yield str(UnknownName("node", str(to), nodes))


def _partition_problems(parameters: Mapping[str, Any], nodes: tuple[str, ...]) -> Iterator[str]:
    try:
        cut = given_cut(parameters, nodes)
    except HarnessError as error:
        yield str(error)
        return
    shape = parameters.get("shape")
    if cut is None and shape is not None and shape not in SHAPES:
        yield str(UnknownName("partition shape", str(shape), SHAPES))


def _link_problems(parameters: Mapping[str, Any], nodes: tuple[str, ...]) -> Iterator[str]:
    given = parameters.get("links")
    if given is None:
        return
    try:
        links = msgspec.convert(given, tuple[tuple[str, str], ...])
    except msgspec.ValidationError:
        yield f'links is {given!r}; its form is [["n1", "n2"], ...]'
        return
    known = (*nodes, _CLIENT)
    for end in dict.fromkeys(end for link in links for end in link):
        if end not in known:
            yield str(UnknownName("node in links", end, known))


def _number_problems(
    word: str, parameters: Mapping[str, Any], names: Collection[str]
) -> Iterator[str]:
    for name in names:
        value = parameters.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            told = f"is {value!r}" if name in parameters else "is missing"
            yield f"{word}: {name} {told}; a number is needed"
