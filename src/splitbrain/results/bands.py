"""Fault bands: from when to when each fault held, read from the nemesis operations of a history.

The nemesis writes ``start-<fault>`` and ``stop-<fault>``, each twice (invocation and completion, both
``info``), joined by ``value["id"]``.  A band runs from the start's invocation to the stop's
completion.  A fault without a stop is either a single act (a clock jump) or was never healed; the
two are told apart by whether any fault of that name in the history has a stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.contracts.spec import ScheduledFault
from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.text import and_list, key_text, value_text

__all__ = [
    "NODE_CRASH",
    "Band",
    "bands_of",
    "describe",
    "describe_parameters",
    "first_success_ns",
]

NODE_CRASH = "node-crash"
"""The nemesis's word for a node that ended by itself: an event, not a fault."""


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """One application of one fault.

    Attributes:
        fault: its name, such as ``partition``.
        id: joins start and stop, as the nemesis gave it; may be empty.
        start_ns: when the nemesis began to apply it.
        applied_ns: when it had been applied and observed, or None if that was not recorded.
        end_ns: when it had been healed; None if it is a single act or was never healed.
        single: True if this fault has no stop by its nature.
        targets: nodes.
        parameters: such as ``{"cut": [["n1", "n2"]]}``.
        proof: what was observed of each target: mappings with target, effective, masked, observed.
        error: why the nemesis could not do it, if it could not.
        ops: indexes of the nemesis operations behind this band.
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
        """Its end for a drawing: ``horizon_ns`` if it was never healed, its start if single."""
        if self.end_ns is not None:
            return self.end_ns
        return (self.applied_ns or self.start_ns) if self.single else max(horizon_ns, self.start_ns)


class _Event(msgspec.Struct, kw_only=True):
    """A nemesis function with its two moments, before it becomes a band's start or stop."""

    verb: str
    fault: str
    id: str
    invoked_ns: int
    completed_ns: int | None = None
    value: Mapping[str, Any] = {}
    error: str | None = None
    ops: tuple[int, ...] = ()


def _split(f: str) -> tuple[str, str]:
    for verb in ("start", "stop"):
        if f.startswith(verb + "-"):
            return verb, f[len(verb) + 1 :]
    return "start", f


def _events(history: Iterable[Op]) -> list[_Event]:
    """Nemesis functions in order of invocation; each completion joined to its invocation."""
    events: list[_Event] = []
    waiting: dict[tuple[str, str], _Event] = {}
    for op in history:
        if op.process != NEMESIS or op.f == NODE_CRASH:
            continue
        value = op.value if isinstance(op.value, Mapping) else {}
        identity = (op.f, str(value.get("id", "")))
        begun = waiting.pop(identity, None)
        if begun is not None:
            begun.completed_ns, begun.value, begun.error = op.time_ns, value or begun.value, op.error
            begun.ops = (*begun.ops, op.index)
            continue
        verb, fault = _split(op.f)
        event = _Event(
            verb=verb,
            fault=fault,
            id=identity[1],
            invoked_ns=op.time_ns,
            value=value,
            error=op.error,
            ops=(op.index,),
        )
        events.append(event)
        waiting[identity] = event
    return events


def _scheduled(faults: Iterable[ScheduledFault]) -> list[_Event]:
    events = []
    for fault in faults:
        verb, name = _split(fault.f)
        value = {"targets": list(fault.targets), "parameters": fault.parameters}
        events.append(
            _Event(
                verb=verb, fault=name, id=fault.id, invoked_ns=fault.time_ns,
                completed_ns=fault.time_ns, value=value,
            )
        )  # fmt: skip
    return sorted(events, key=lambda event: event.invoked_ns)


def _sequence(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, Sequence) else []


def _band(start: _Event, stop: _Event | None, single: bool) -> Band:
    value = start.value
    parameters = value.get("parameters")
    proof = [*_sequence(value.get("proof"))]
    return Band(
        fault=start.fault,
        id=start.id,
        start_ns=start.invoked_ns,
        applied_ns=start.completed_ns,
        end_ns=None if stop is None else stop.completed_ns or stop.invoked_ns,
        single=single,
        targets=tuple(key_text(target) for target in _sequence(value.get("targets"))),
        parameters=parameters if isinstance(parameters, Mapping) else {},
        proof=tuple(item for item in proof if isinstance(item, Mapping)),
        error=start.error,
        ops=(*start.ops, *(stop.ops if stop else ())),
    )


def bands_of(history: Iterable[Op], faults: Iterable[ScheduledFault] = ()) -> tuple[Band, ...]:
    """The bands of a history in order of their starts; of ``faults`` where it names none."""
    events = _events(history) or _scheduled(faults)
    stoppable = {event.fault for event in events if event.verb == "stop"}
    open_starts: dict[str, list[_Event]] = {}
    stops: dict[int, _Event] = {}
    for event in events:
        waiting = open_starts.setdefault(event.fault, [])
        if event.verb == "start":
            waiting.append(event)
            continue
        # A stop with an id ends its start; one without ends every open fault of its name.
        ended = [start for start in waiting if not event.id or start.id == event.id]
        for start in ended:
            stops[id(start)] = event
            waiting.remove(start)
    return tuple(
        _band(event, stops.get(id(event)), event.fault not in stoppable)
        for event in events
        if event.verb == "start"
    )


def _groups(cut: Sequence[Any]) -> tuple[set[tuple[str, str]], list[str]]:
    pairs = {(str(p[0]), str(p[1])) for p in cut if isinstance(p, Sequence) and len(p) == 2}
    return pairs, sorted({node for pair in pairs for node in pair})


def _describe_cut(cut: Sequence[Any]) -> str:
    """A set of directed pairs in words: who could not speak to whom."""
    pairs, nodes = _groups(cut)
    if not pairs:
        return "no link was cut"
    if any((b, a) not in pairs for a, b in pairs):
        sides = sorted(f"{a} to {b}" for a, b in pairs)
        more = f" and {len(sides) - 4} more" if len(sides) > 4 else ""
        return f"nothing passed from {and_list(sides[:4])}{more}"
    cut_from = {node: {b for a, b in pairs if a == node} for node in nodes}
    sides_of: dict[frozenset[str], list[str]] = {}
    for node in nodes:
        sides_of.setdefault(frozenset(cut_from[node]), []).append(node)
    if len(sides_of) == 2:
        one, other = sorted(sides_of.values(), key=len)
        verb = "was" if len(one) == 1 else "were"
        if len(one) == 1 and len(other) > 1:
            return f"{one[0]} {verb} cut off from {and_list(other)}"
        return f"{and_list(one)} {verb} cut off from {and_list(other)}"
    both = sorted({tuple(sorted(pair)) for pair in pairs})
    more = f" and {len(both) - 4} more" if len(both) > 4 else ""
    return f"the links {and_list([f'{a}–{b}' for a, b in both[:4]])}{more} were cut"


_PAST = {"kill": "killed", "power": "without power", "pause": "paused"}


def describe(band: Band, legend: Mapping[str, str] | None = None) -> str:
    """A band in words, in the past tense, such as ``n2 was cut off from n1 and n3``."""
    cut = band.parameters.get("cut")
    if isinstance(cut, Sequence) and not isinstance(cut, str) and cut:
        return _describe_cut(cut)
    who = and_list(band.targets)
    if band.fault in _PAST and who:
        return f"{who} {'was' if len(band.targets) == 1 else 'were'} {_PAST[band.fault]}"
    words = (legend or {}).get(band.fault) or (legend or {}).get(f"start-{band.fault}")
    name = words or band.fault.replace("-", " ")
    return f"{name} on {who}" if who else name


def describe_parameters(band: Band) -> str:
    """What a fault was given beside its targets, such as ``delay_ms 120, jitter_ms 30``."""
    cut = band.parameters.get("cut")
    parts = []
    if isinstance(cut, Sequence) and not isinstance(cut, str):
        parts.append(_describe_cut(cut))
    parts += [
        f"{key_text(name)} {value_text(value)}"
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
