"""Containers that a run has borrowed: what it did to each, and how each gets back what it was.

What is given back is the state in which it was found.  The journal holds, for each container::

    borrow-container   what it was before: running, paused or stopped
    kill-container     undone once it runs again; ``finished``: when that end was
    start-container    ``started``: when that run began
    pause              as of every node

So a heal after the tool's own end does neither less nor more: a container that somebody has stopped or
started since is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import docker.errors
import msgspec

from splitbrain.contracts.journal import Journal
from splitbrain.substrates.docker.engine import Engine
from splitbrain.substrates.docker.finding import PAUSED, RUNNING, STOPPED, Target
from splitbrain.substrates.journal import Act

__all__ = ["BORROW", "Book", "Loan", "give_back", "loans_of"]

BORROW, KILL, START = "borrow-container", "kill-container", "start-container"
PAUSE = "pause"
"""Acts of the journal; the last is that of every node."""
_STOP_S = 10


class Loan(msgspec.Struct, frozen=True, kw_only=True):
    """What must be known to give one container back.

    Attributes:
        container: its id.
        name: its name.
        before: ``running``, ``paused`` or ``stopped``.
        killed: it was ended and not started again.
        finished: when it ended, if that is known: a later end is not the run's.
        held: it was paused and not resumed since.
        started: when runs began that the run started.
        image: of the helper containers that cut its links; empty: they were cut from this machine.
    """

    container: str
    name: str
    before: str
    killed: bool = False
    finished: str = ""
    held: bool = False
    started: frozenset[str] = frozenset()
    image: str = ""


def give_back(api: Any, loan: Loan) -> tuple[str, ...]:
    """Let the container be what it was; what was done, in words.

    Args:
        api: the low-level client of the engine.
        loan: of the container.

    Raises:
        docker.errors.DockerException: the engine refuses.
    """
    try:
        state = api.inspect_container(loan.container)["State"]
    except docker.errors.NotFound:
        return ()  # whose it is has removed it
    done = []
    if loan.before == STOPPED:
        if state["Running"] and state["StartedAt"] in loan.started:
            if state["Paused"]:
                api.unpause(loan.container)
            api.stop(loan.container, timeout=_STOP_S)
            done.append("stopped")
        return tuple(done)
    if not state["Running"] and loan.killed and loan.finished in ("", state["FinishedAt"]):
        api.start(loan.container)
        done.append("started")
        state = api.inspect_container(loan.container)["State"]
    if state["Running"] and state["Paused"] and loan.held and loan.before == RUNNING:
        api.unpause(loan.container)
        done.append("resumed")
    if state["Running"] and not state["Paused"] and loan.before == PAUSED:
        api.pause(loan.container)
        done.append("paused")
    return tuple(done)


class Book:
    """What is done to one borrowed container, in the journal and for its return."""

    def __init__(self, target: Target, journal: Journal, label: str, engine: Engine) -> None:
        self.target = target
        self._before = target.state
        self._journal = journal
        self._label = label
        self._engine = engine
        self._started: set[str] = set()
        self._killed: int | None = None
        self._number: int | None = None

    def borrow(self, *, image: str) -> None:
        """Write down that it is taken, and what it is."""
        self._number = self._intent(BORROW, undo="give-back", before=self._before, image=image)
        self._journal.done(self._number)

    async def state(self) -> Mapping[str, Any]:
        """What the engine tells of its state."""
        seen = await self._engine.call("inspect_container", self.target.container)
        return dict(seen["State"])

    async def start(self) -> None:
        """Start it."""
        number = self._intent(START, undo="")
        await self._engine.call("start", self.target.container)
        started = str((await self.state())["StartedAt"])
        self._started.add(started)
        self._journal.done(number, started=started)
        if self._killed is not None:
            self._journal.undone(self._killed)
            self._killed = None

    async def unpause(self) -> None:
        """Thaw one that was found frozen."""
        await self._engine.call("unpause", self.target.container)

    @property
    def holds(self) -> bool:
        """It was killed, and is to be dead until it is started again."""
        return self._killed is not None

    def killing(self) -> None:
        """It is about to be killed."""
        if self._killed is None:
            self._killed = self._intent(KILL, undo="start-container")

    async def killed(self) -> None:
        """It was."""
        if self._killed is not None:
            self._journal.done(self._killed, finished=(await self.state())["FinishedAt"])

    async def give_back(self) -> None:
        """Let it be what it was; it is no longer ours then."""
        if self._number is None:
            return
        loan = Loan(
            container=self.target.container,
            name=self.target.name,
            before=self._before,
            killed=True,  # whatever ended it did so in our test
            held=True,
            started=frozenset(self._started),
        )
        await self._engine.do(give_back, loan)
        for number in (self._killed, self._number):
            if number is not None:
                self._journal.undone(number)
        self._killed = self._number = None

    def _intent(self, act: str, **fields: Any) -> int:
        return self._journal.intent(
            act,
            target=self.target.name,
            label=self._label,
            container=self.target.container,
            engine=self._engine.url,
            **fields,
        )


def loans_of(acts: Iterable[Act]) -> dict[str, tuple[Loan, ...]]:
    """The loans of a journal that were not given back, by the engine's address.

    Args:
        acts: in their order.
    """
    loans: dict[tuple[str, str], Loan] = {}
    for act in acts:
        container = str(act.fields.get("container", ""))
        key = (str(act.fields.get("engine", "")), container)
        if act.name == PAUSE:  # of any node: its engine is that of the loan
            key = next((it for it in loans if it[1] == container), key)
        result = act.result or {}
        if act.name == BORROW and not act.undone:
            loans[key] = Loan(
                container=container,
                name=str(act.fields.get("target", "")),
                before=str(act.fields.get("before", RUNNING)),
                image=str(act.fields.get("image", "")),
            )
        elif key not in loans:
            continue
        elif act.name == KILL and not act.undone:
            finished = str(result.get("finished", ""))
            loans[key] = msgspec.structs.replace(loans[key], killed=True, finished=finished)
        elif act.name == PAUSE and not act.undone:
            loans[key] = msgspec.structs.replace(loans[key], held=True)
        elif act.name == START and "started" in result:
            started = loans[key].started | {str(result["started"])}
            loans[key] = msgspec.structs.replace(loans[key], started=started)
    by_engine: dict[str, tuple[Loan, ...]] = {}
    for (url, _), loan in loans.items():
        by_engine[url] = (*by_engine.get(url, ()), loan)
    return by_engine
