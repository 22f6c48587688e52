"""Fault bands as a reader wants them: who was hurt, from when to when, and what was seen of it.

Which bands there are is decided in one place, ``checkers.bands``, from the nemesis operations of the
history; here they gain their words.  Where a history holds no nemesis operations, the schedule that
was carried out (``faults.jsonl``) stands in for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.checkers.bands import Band, fault_bands
from splitbrain.contracts.spec import ScheduledFault
from splitbrain.history.history import History, Mispaired
from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.text import and_list, key_text

__all__ = [
    "Application",
    "bands_of",
    "describe",
    "describe_parameters",
    "first_success_ns",
    "paired",
    "short",
]


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """One application of one fault.

    Attributes:
        fault: its name, such as ``partition``.
        id: joins start and stop, as the nemesis gave it; may be empty.
        start_ns: when the nemesis began to apply it.
        applied_ns: when it had been applied and observed, or None if that was not recorded.
        end_ns: when it had been healed; None if it was never healed.
        single: True if it was over at once, such as a clock jump.
        targets: nodes.
        parameters: such as ``{"cut": [["n1", "n2"]]}``.
        proof: what was observed of each target: mappings with target, effective, masked, observed.
        error: why the nemesis could not do it, if it could not.
        ops: indexes of the start's two events.
    """

    fault: str
    id: str = ""
    start_ns: int = 0
    applied_ns: int | None = None
    end_ns: int | None = None
    single: bool = False
    targets: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = {}
    proof: tuple[Mapping[str, Any], ...] = ()
    error: str | None = None
    ops: tuple[int, ...] = ()

    def until_ns(self, horizon_ns: int) -> int:
        """Its end for a drawing: ``horizon_ns`` if it was never healed."""
        return self.end_ns if self.end_ns is not None else max(horizon_ns, self.start_ns)

    @property
    def effect(self) -> str:
        """``effective``, ``no-effect``, ``masked`` by another fault, or ``unproven``.

        One observation against it outweighs all for it, as in the check that a verdict is earned.
        """
        due = [item.get("effective") for item in self.proof if not item.get("masked")]
        if self.proof and not due:
            return "masked"
        if False in due:
            return "no-effect"
        return "effective" if True in due else "unproven"


def paired(history: Sequence[Op]) -> History | None:
    """``history`` as a whole History; None if its events contradict each other."""
    if isinstance(history, History) and history.whole is history:
        return history
    try:
        return History(history)
    except Mispaired:
        return None


def _sequence(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, Sequence) else []


def _proofs(band: Band) -> list[Mapping[str, Any]]:
    """The start's observations, or the stop's where the start made none (faults of chance)."""
    first, last = (
        [item for item in _sequence(value.get("proof")) if isinstance(item, Mapping)]
        for value in (band.value, band.stop_value)
    )
    return first or last


def _application(band: Band, history: History) -> Application:
    reported = history.completion(band.start)
    completion = history.at(reported) if reported is not None else None
    parameters = band.value.get("parameters")
    applied_ns = completion.time_ns if completion is not None else None
    return Application(
        fault=band.fault,
        id=band.id,
        start_ns=band.begin_ns,
        applied_ns=applied_ns,
        end_ns=band.end_ns,
        single=band.end_ns is not None and band.end_ns == applied_ns,
        targets=tuple(key_text(target) for target in _sequence(band.value.get("targets"))),
        parameters=parameters if isinstance(parameters, Mapping) else {},
        proof=tuple(_proofs(band)),
        error=completion.error if completion is not None else None,
        ops=(band.start,) if reported is None else (band.start, reported),
    )


def _scheduled(faults: Iterable[ScheduledFault]) -> list[Application]:
    """Bands from a schedule: a stop ends the open fault of its name and id."""
    found: list[Application] = []
    open_places: dict[tuple[str, str], int] = {}
    for fault in sorted(faults, key=lambda fault: fault.time_ns):
        verb, _, name = fault.f.partition("-")
        identity = (name, fault.id)
        if verb == "start":
            open_places[identity] = len(found)
            found.append(
                Application(
                    fault=name,
                    id=fault.id,
                    start_ns=fault.time_ns,
                    targets=fault.targets,
                    parameters=fault.parameters,
                )
            )
        elif verb == "stop" and identity in open_places:
            place = open_places.pop(identity)
            found[place] = msgspec.structs.replace(found[place], end_ns=fault.time_ns)
    return found


def bands_of(
    history: Sequence[Op], faults: Iterable[ScheduledFault] = ()
) -> tuple[Application, ...]:
    """The faults of a history in order of their starts; of ``faults`` where it names none."""
    whole = paired(history)
    found = (
        [_application(band, whole) for band in fault_bands(whole)] if whole is not None else []
    )
    return tuple(sorted(found or _scheduled(faults), key=lambda band: band.start_ns))


def _pairs(cut: Sequence[Any]) -> set[tuple[str, str]]:
    return {
        (str(pair[0]), str(pair[1]))
        for pair in cut
        if isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2
    }


def _sides(pairs: set[tuple[str, str]]) -> tuple[list[str], list[str]] | None:
    """The two sides of a cut in which everyone of one can no longer speak to anyone of the other.

    For a cut in both directions the smaller side comes first, else the senders do.
    """
    senders = sorted({a for a, _ in pairs})
    receivers = sorted({b for _, b in pairs})
    if senders != receivers:
        whole = len(pairs) == len(senders) * len(receivers)
        return (senders, receivers) if whole and not set(senders) & set(receivers) else None
    if any((b, a) not in pairs for a, b in pairs):
        return None
    sides: dict[frozenset[str], list[str]] = {}
    for node in senders:
        sides.setdefault(frozenset(b for a, b in pairs if a == node), []).append(node)
    if len(sides) != 2:
        return None
    one, other = sorted(sides.values(), key=len)
    return one, other


def _describe_cut(cut: Sequence[Any], all_nodes: Sequence[str] = ()) -> str:
    """A set of directed pairs in words: who could not speak to whom."""
    pairs = _pairs(cut)
    if not pairs:
        return "no link was cut"
    sides = _sides(pairs)
    two_way = all((b, a) in pairs for a, b in pairs)
    if sides is None:
        links = [f"{a}\u2013{b}" for a, b in sorted({(min(p), max(p)) for p in pairs})]
        links = links if two_way else [f"{a}\u2192{b}" for a, b in sorted(pairs)]
        more = f" and {len(links) - 6} more" if len(links) > 6 else ""
        listed = ", ".join(links[:6]) if more else and_list(links)
        return f"the links {listed}{more} were cut"

    def named(side: Sequence[str], other: Sequence[str]) -> str:
        everyone = len(side) > 1 and set(all_nodes) == {*side, *other}
        return "the others" if everyone and len(side) >= len(other) else and_list(side)

    one, other = named(sides[0], sides[1]), named(sides[1], sides[0])
    if not two_way:
        return f"nothing passed from {one} to {other}"
    return f"{one} {'was' if len(sides[0]) == 1 else 'were'} cut off from {other}"


def short(band: Application) -> str:
    """Whom a band hurt, in as few characters as a chart has room for."""
    cut = band.parameters.get("cut")
    if band.targets or not isinstance(cut, Sequence) or isinstance(cut, str):
        return " ".join(band.targets)
    pairs = _pairs(cut)
    sides = _sides(pairs)
    if sides is None:
        return f"{len(pairs)} links"
    if (sides[1][0], sides[0][0]) in pairs:
        return " ".join(sides[0])
    senders, receivers = " ".join(sides[0]), " ".join(sides[1])
    return f"{senders} \u2192" if len(sides[0]) <= len(sides[1]) else f"\u2192 {receivers}"


_PAST = {
    "kill": "killed",
    "power": "without power",
    "pause": "paused",
    "oom": "killed for want of memory",
    "cpu": "short of processor time",
}


def describe(band: Application, nodes: Sequence[str] = ()) -> str:
    """A band in words, in the past tense, such as ``n2 was cut off from n1 and n3``.

    ``nodes``: all of the testbed, so that *the others* can be said of them.
    """
    cut = band.parameters.get("cut")
    if isinstance(cut, Sequence) and not isinstance(cut, str) and cut:
        return _describe_cut(cut, nodes)
    who = and_list(band.targets)
    if band.fault in _PAST and who:
        return f"{who} {'was' if len(band.targets) == 1 else 'were'} {_PAST[band.fault]}"
    name = band.fault.replace("-", " ")
    return f"{name} on {who}" if who else name


def describe_parameters(band: Application, *, cut: bool = True) -> str:
    """What a fault was given beside its targets, such as ``delay_ms 120, jitter_ms 30``.

    ``cut=False`` leaves out the cut links, where :func:`describe` already tells them.
    """
    links = band.parameters.get("cut")
    parts = []
    if cut and isinstance(links, Sequence) and not isinstance(links, str):
        parts.append(_describe_cut(links))
    parts += [
        f"{key_text(name)} {key_text(value)}"
        for name, value in band.parameters.items()
        if name != "cut"
    ]
    return ", ".join(parts)


def first_success_ns(history: Iterable[Op], moments_ns: Sequence[int]) -> list[int | None]:
    """For each moment, when the next client operation succeeded that was *invoked* after it.

    An operation begun before a heal proves nothing of the time after it, so completions alone would
    make recovery look faster than it was.
    """
    answers: list[int | None] = [None] * len(moments_ns)
    invoked: dict[int, int] = {}
    waiting = sorted(range(len(moments_ns)), key=moments_ns.__getitem__)
    for op in history:
        if not waiting:
            break
        if op.process == NEMESIS:
            continue
        if op.type == "invoke":
            invoked[op.process] = op.time_ns
        elif op.type == "ok":
            begun_ns = invoked.pop(op.process, -1)
            while waiting and moments_ns[waiting[0]] <= begun_ns:
                answers[waiting.pop(0)] = op.time_ns
    return answers
