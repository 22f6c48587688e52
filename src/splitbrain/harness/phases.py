"""The generators of the driver's own phases: main, recovery, and faults at fixed times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator
from splitbrain.contracts.spec import ScheduledFault
from splitbrain.harness.context import CLIENTS, NEMESIS_ONLY, thread_bit
from splitbrain.harness.generator.lift import DONE, Answer, lift
from splitbrain.harness.generator.pace import Stagger
from splitbrain.history.op import NEMESIS, Op

__all__ = ["Campaign", "Until", "directed", "lateness_ns", "paced", "unpaced"]


def paced(rate_hz: float, generator: Generator) -> Generator:
    """At most ``rate_hz`` operations a second over all workers; 0 means no limit."""
    return Stagger(1e9 / rate_hz, generator) if rate_hz > 0 else generator


def unpaced(generator: Generator) -> Generator:
    """The generator inside ``paced``."""
    return generator.generator if isinstance(generator, Stagger) else generator


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """Clients and nemesis side by side, until a time, or until enough has succeeded.

    It keeps the workload's generator within reach, so that the final phase goes on where the main
    phase stood (a workload that writes distinct values must not begin again), and lets the
    workload's final generator learn of all that happened before its turn.

    Attributes:
        work: what the clients do; its exhaustion ends the campaign.
        faults: what the nemesis does beside it.
        final: the workload's final generator, listening.
        end_ns: no operation begins at or after this time.
        waiting: threads of which each must have an ok before the end; 0: only the time ends it.
        counted: True if ``waiting`` counts.
    """

    work: Generator
    faults: Generator = DONE
    final: Generator = DONE
    end_ns: int
    waiting: int = 0
    counted: bool = False

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The sooner of the clients' and the nemesis's operation; the nemesis goes first."""
        if ctx.time_ns >= self.end_ns or (self.counted and not self.waiting):
            return None
        work: Answer = PENDING
        clients = ctx.restrict(CLIENTS)
        if clients.free_mask:
            work = self.work.op(test, clients)
            if work is None:
                return None
        faults: Answer = None
        nemesis = ctx.restrict(NEMESIS_ONLY)
        if nemesis.free_mask:
            faults = self.faults.op(test, nemesis)
        # On a tie the nemesis: clients without a rate are always due, and would keep it waiting.
        if (
            isinstance(faults, Emit)
            and faults.op.time_ns < self.end_ns
            and not (isinstance(work, Emit) and work.op.time_ns < faults.op.time_ns)
        ):
            return Emit(faults.op, self._with(self.work, faults.next, self.final, self.waiting))
        if not isinstance(work, Emit):
            return PENDING
        if work.op.time_ns >= self.end_ns:
            return None
        return Emit(work.op, self._with(work.next, self.faults, self.final, self.waiting))

    def _with(
        self, work: Generator, faults: Generator, final: Generator, waiting: int
    ) -> Campaign:
        return Campaign(
            work=work,
            faults=faults,
            final=final,
            end_ns=self.end_ns,
            waiting=waiting,
            counted=self.counted,
        )

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Clients' events go to the work and to the final generator, others to the faults."""
        if event.process == NEMESIS:
            faults = self.faults.update(test, ctx.restrict(NEMESIS_ONLY), event)
            return self._with(self.work, faults, self.final, self.waiting)
        clients = ctx.restrict(CLIENTS)
        work = self.work.update(test, clients, event)
        final = self.final.update(test, clients, event)
        waiting = self.waiting
        if event.type == "ok":
            waiting &= ~thread_bit(ctx.thread(event.process))
        return self._with(work, self.faults, final, waiting)


class Until(msgspec.Struct, frozen=True):
    """A generator whose last operation begins before a fixed time."""

    end_ns: int
    generator: Generator

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The generator's operation, if the time has not come."""
        if ctx.time_ns >= self.end_ns:
            return None
        offer = self.generator.op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        if offer.op.time_ns >= self.end_ns:
            return None
        return Emit(offer.op, Until(self.end_ns, offer.next))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Passed on."""
        return Until(self.end_ns, self.generator.update(test, ctx, event))


def lateness_ns(schedule: Sequence[ScheduledFault], now_ns: int) -> int:
    """By how much the first fault of a schedule comes too late if it begins now; 0 if it does not."""
    return max(0, now_ns - min((fault.time_ns for fault in schedule), default=now_ns))


def directed(schedule: Sequence[ScheduledFault], now_ns: int = 0) -> Generator:
    """Each fault at its time (or as soon after as the nemesis is free), in the order of times.

    Where a system takes longer to be ready than the first fault can wait, all of them come later by
    as much as that one: how far they are apart is what matters.

    >>> from splitbrain.harness.generator import invocations
    >>> kill = ScheduledFault(time_ns=5, f="start-kill", targets=("n1",), id="k1")
    >>> [(op.time_ns, op.f, op.value["fault"]) for op in invocations(directed([kill]))]
    [(5, 'start-kill', 'kill')]
    >>> stop = ScheduledFault(time_ns=30, f="stop-kill", id="k1")
    >>> [op.time_ns for op in invocations(directed([kill, stop], now_ns=7))]
    [7, 32]
    """
    later_ns = lateness_ns(schedule, now_ns)
    ordered = sorted(schedule, key=lambda fault: fault.time_ns)
    return lift(
        [
            {
                "f": fault.f,
                "process": NEMESIS,
                "time_ns": fault.time_ns + later_ns,
                "value": {
                    "id": fault.id or f"{fault.f.partition('-')[2]}-at-{fault.time_ns}",
                    "fault": fault.f.partition("-")[2],
                    "targets": list(fault.targets),
                    "parameters": dict(fault.parameters),
                },
            }
            for fault in ordered
        ]
    )
