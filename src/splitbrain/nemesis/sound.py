"""What a family of faults returns is checked whole, and all that is wrong is told at once.

A family that answers nonsense would fail far away: in the schedule, in the history, or in a report
that draws no fault.  ``sound`` stands before a family and checks each answer of ``draft``, ``start``,
``stop`` and ``heal`` where it is given, so that the words name the plug-in's class and file:

    family Rotten (my_fault.py:9) broke its contract in start: targets should be a list of names, was
    'n1'; proof {'target': 'n1', 'effective': 'yes'}: Expected `bool | null`, got `str` ...; asked
    start-rot {'id': 'rot-1', 'targets': ('one',), 'parameters': {}}, answered ('n1', {}, [...])

A fault comes every few seconds and its check takes microseconds, so all families are checked, the
bundled ones too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from splitbrain.checkers.bands import ONE_SHOT
from splitbrain.contracts.fault import Fault
from splitbrain.env.random import Stream
from splitbrain.errors import HarnessError, whose
from splitbrain.harness.validate import awaited, proof_problems, short
from splitbrain.history.writable import unwritable
from splitbrain.nemesis.base import ROLES, Act, Draft, Family, Outcome
from splitbrain.nemesis.own import OwnFamily

__all__ = ["Sound", "draft_problems", "family_problems", "outcome_problems", "owner", "sound"]

_MEMBERS = ("faults", "kinds", "draft", "start", "stop", "heal")


def sound(family: Any, nodes: Sequence[str], promised: frozenset[str] | None = None) -> Family:
    """The family with all its answers checked.

    Args:
        family: what a factory of ``NEMESES`` made.
        nodes: names of the testbed's nodes.
        promised: the faults that its factory was said to make; None: whatever it has.

    Raises:
        HarnessError: it is no family, or none of these faults; so does each of its methods later.
    """
    problems = family_problems(family, promised)
    if problems:
        raise HarnessError(f"{owner(family)} is no family of faults: {'; '.join(problems)}")
    return Sound(family, nodes)


def owner(family: Any) -> str:
    """Whose it is: its class, or the function that hurts, with file and line unless it is ours."""
    family = family.family if isinstance(family, Sound) else family
    if isinstance(family, OwnFamily):
        return f"fault {family.parts.name!r} of {whose(family.parts.hurt)}"
    return whose(family)


class Sound:
    """A family before which every answer is checked."""

    def __init__(self, family: Family, nodes: Sequence[str]) -> None:
        self.family = family
        self.faults = family.faults
        self._nodes = tuple(nodes)

    def kinds(self, name: str) -> frozenset[Fault]:
        """A set of kinds."""
        kinds = self.family.kinds(name)
        if not isinstance(kinds, frozenset) or not all(
            isinstance(kind, Fault) for kind in kinds
        ):
            problem = f"a frozenset of Fault should be returned, was {short(kinds)}"
            raise self._wrong("kinds", [problem], repr(name), kinds)
        return kinds

    def draft(self, name: str, stream: Stream) -> Draft:
        """A draft of a fault of this family."""
        draft = self.family.draft(name, stream)
        problems = draft_problems(draft, self.faults, self._nodes)
        if problems:
            raise self._wrong("draft", problems, repr(name), draft)
        return draft

    async def start(self, act: Act) -> Outcome:
        """An outcome."""
        return await self._outcome("start", self.family.start(act), act)

    async def stop(self, act: Act) -> Outcome:
        """An outcome."""
        return await self._outcome("stop", self.family.stop(act), act)

    async def heal(self) -> Outcome:
        """An outcome."""
        return await self._outcome("heal", self.family.heal(), None)

    async def _outcome(
        self, method: str, answer: Awaitable[Outcome], act: Act | None
    ) -> Outcome:
        outcome = await awaited(answer, self.family, method)
        problems = outcome_problems(outcome, self._nodes)
        if problems:
            raise self._wrong(method, problems, _shown(act), outcome)
        checked: Outcome = outcome
        return checked

    def _wrong(
        self, method: str, problems: Iterable[str], asked: str, answer: Any
    ) -> HarnessError:
        return HarnessError(
            f"family {owner(self)} broke its contract in {method}: {'; '.join(problems)}; "
            f"asked {asked}, answered {short(answer)}"
        )


def _shown(act: Act | None) -> str:
    """The operation that an act came from."""
    if act is None:
        return "to heal all"
    value = {"id": act.id, "targets": act.targets, "parameters": dict(act.parameters)}
    return f"{'start' if act.start else 'stop'}-{act.fault} {short(value)}"


# --- what is wrong --------------------------------------------------------------------------------


def family_problems(family: Any, promised: frozenset[str] | None = None) -> tuple[str, ...]:
    """What keeps an object from being a family.

    >>> class Rotten:
    ...     faults = {"rot"}
    ...     def draft(self, name, stream): ...
    >>> for problem in family_problems(Rotten(), frozenset({"rot"})):
    ...     print(problem)
    it lacks kinds, start, stop, heal
    faults should be a frozenset of names, was {'rot'}
    """
    return tuple(_family_problems(family, promised))


def _family_problems(family: Any, promised: frozenset[str] | None) -> Iterator[str]:
    missing = [name for name in _MEMBERS if not hasattr(family, name)]
    if missing:
        yield f"it lacks {', '.join(missing)}"
    plain = [m for m in _MEMBERS[1:] if m not in missing and not callable(getattr(family, m))]
    if plain:
        yield f"{', '.join(plain)} should be callable"
    if "faults" in missing:
        return
    faults = family.faults
    if not isinstance(faults, frozenset) or not all(isinstance(f, str) and f for f in faults):
        yield f"faults should be a frozenset of names, was {short(faults)}"
    elif promised is not None and faults != promised:
        yield f"faults should be those of its factory, {_listed(promised)}, was {_listed(faults)}"


def draft_problems(
    draft: Any, faults: Iterable[str], nodes: Sequence[str] = ()
) -> tuple[str, ...]:
    """In which points a draft cannot become an operation.

    >>> draft_problems(Draft(fault="rot", targets=("leader", "n1")), {"rot"}, ["n1"])
    ()
    >>> for problem in draft_problems(Draft(fault="mould", targets="n1"), {"rot"}, ["n1"]):
    ...     print(problem)
    fault should be one of rot, was 'mould'
    targets should be a list of names, was 'n1'
    """
    if not isinstance(draft, Draft):
        return (f"a Draft should be returned, was {short(draft)}",)
    return tuple(_draft_problems(draft, frozenset(faults), nodes))


def _draft_problems(
    draft: Draft, faults: frozenset[str], nodes: Sequence[str]
) -> Iterator[str]:
    if draft.fault not in faults:
        yield f"fault should be one of {_listed(faults)}, was {draft.fault!r}"
    yield from _names_problems(draft.targets)
    if _are_names(draft.targets):
        strange = [target for target in draft.targets if target not in (*nodes, *ROLES)]
        if strange:
            known = ", ".join((*nodes, *ROLES))
            yield f"targets should be nodes or roles ({known}), not {', '.join(strange)}"
    yield from _parameter_problems(draft.parameters)
    for name in ("lasting", "aimed"):
        if not isinstance(getattr(draft, name), bool):
            yield f"{name} should be True or False, was {short(getattr(draft, name))}"
    if draft.lasting is False and draft.fault not in ONE_SHOT:
        yield f"lasting should be True: only {_listed(ONE_SHOT)} are over at once"


def outcome_problems(outcome: Any, nodes: Sequence[str] = ()) -> tuple[str, ...]:
    """In which points an outcome cannot become a completion.

    >>> outcome_problems((("n1",), {}, ()), ["n1"])
    ()
    >>> for problem in outcome_problems((("leader",), {1: 2}, [{"effective": True}]), ["n1"]):
    ...     print(problem)
    targets should name the nodes that were hit, not the role leader
    parameters should have names, not 1
    proof {'effective': True}: Object missing required field `target`
    >>> outcome_problems(None)
    ('(targets, parameters, proofs) should be returned, was None',)
    """
    if not isinstance(outcome, tuple | list) or len(outcome) != 3:
        return (f"(targets, parameters, proofs) should be returned, was {short(outcome)}",)
    return tuple(_outcome_problems(outcome, nodes))


def _outcome_problems(outcome: Sequence[Any], nodes: Sequence[str]) -> Iterator[str]:
    targets, parameters, proofs = outcome
    yield from _names_problems(targets)
    if _are_names(targets):
        roles = [target for target in targets if target in ROLES and target not in nodes]
        if roles:
            named = ", ".join(roles)
            yield f"targets should name the nodes that were hit, not the role {named}"
    yield from _parameter_problems(parameters)
    if not isinstance(proofs, tuple | list):
        yield f"proofs should be a list, was {short(proofs)}"
        return
    for proof in proofs:
        yield from proof_problems(proof)


def _are_names(targets: Any) -> bool:
    return isinstance(targets, tuple | list) and all(isinstance(each, str) for each in targets)


def _names_problems(targets: Any) -> Iterator[str]:
    if not _are_names(targets):
        yield f"targets should be a list of names, was {short(targets)}"


def _parameter_problems(parameters: Any) -> Iterator[str]:
    if not isinstance(parameters, Mapping):
        yield f"parameters should be a mapping, was {short(parameters)}"
        return
    strange = [name for name in parameters if not isinstance(name, str)]
    if strange:
        yield f"parameters should have names, not {', '.join(map(repr, strange))}"
    problem = unwritable("parameters", dict(parameters))
    if problem is not None:
        yield problem


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
