"""``splitbrain run --dry-run`` where commands are run on this machine: each of them, and none is run.

The system and the families of faults are the run's own; only the testbed is one that does nothing and
says what it would do.  So what is printed is what the seed, or the file of faults, decides: targets,
rules, and the times of a run in which no act takes any.  What is decided only while the test runs, such
as who leads then, is marked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.contracts.test import Test, World
from splitbrain.env.random import Random
from splitbrain.errors import SplitbrainError
from splitbrain.harness.compose import ComposedNemesis
from splitbrain.harness.generator.choice import any_of
from splitbrain.harness.generator.lift import lift
from splitbrain.harness.generator.threads import nemesis
from splitbrain.harness.heal import OpenFaults
from splitbrain.harness.interpreter import Interpreter, Invoke, Pseudo, WaitUntil
from splitbrain.harness.phases import Until, directed
from splitbrain.history.op import NEMESIS, Op

__all__ = ["rehearse"]

_ASK_S = 1.0


def rehearse(test: Test) -> list[str] | None:
    """The lines; None where the substrate has no commands to tell of.

    Raises:
        SplitbrainError: what the test is about is not there, such as a container.
    """
    make = getattr(test.substrate, "rehearsal", None)
    if make is None:
        return None
    lines = [
        "# RUN stands for the directories of a run; names with dry-run differ from run to run"
    ]
    bed = make(test.spec, lines.append)
    asyncio.run(_Rehearsal(test, bed, lines).play())
    return lines


class _Running:
    """A system that was told to start, but does not run."""

    def __init__(self, test: Test, bed: Any) -> None:
        self._test = test
        self._bed = bed
        self.led: tuple[str, ...] | None = None

    async def primaries(self) -> Sequence[str]:
        """Where the system knows without asking its nodes; else nobody."""
        if self.led is None:
            ask = getattr(self._test.system, "primaries", None)
            self.led = ()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_ASK_S):
                    self.led = tuple(await ask(self._test.spec, self._bed)) if ask else ()
        return self.led

    async def admin(self, action: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Nobody answers."""
        raise ConnectionRefusedError("the system does not run")


class _Pacer:
    """Time that passes at once."""

    def __init__(self, bed: Any) -> None:
        self._bed = bed

    def monotonic_ns(self) -> int:
        """The time of the schedule."""
        return int(self._bed.time_ns())

    async def sleep(self, seconds: float) -> None:
        """At once."""


class _Rehearsal:
    """One test from its start to its end, on a testbed that does nothing."""

    def __init__(self, test: Test, bed: Any, lines: list[str]) -> None:
        self._test = test
        self._bed = bed
        self._lines = lines
        self._running = _Running(test, bed)
        self._open = OpenFaults()

    async def play(self) -> None:
        """Start, faults, heal, end."""
        spec = self._test.spec
        pacer: Any = _Pacer(self._bed)
        random = Random(spec.seed)
        try:
            await self._test.system.start(spec, self._bed, random.child("system"), pacer)
        except SplitbrainError:
            raise
        except Exception as error:  # noqa: BLE001 - a system may ask its nodes while it starts
            self._note(f"the rest of the start asks the running nodes ({error})")
        await self._faults(random.child("nemesis"))
        self._note("end")
        await self._bed.close()

    async def _faults(self, random: Random) -> None:
        test, spec = self._test, self._test.spec
        election_s = test.system.election_timeout_s(spec)
        interval_s = spec.nemesis_interval_s
        world = World(
            spec=spec,
            testbed=self._bed,
            running=self._running,  # type: ignore[arg-type]  # what families ask of it
            random=random,
            faults=test.faults,
            limits=test.system.fault_model,
            interval_s=5.0 * election_s if interval_s is None else interval_s,
            election_s=election_s,
        )
        packages = tuple(test.packages(world))
        acts = ComposedNemesis([package.nemesis for package in packages])
        faults = any_of(*(lift(it.generator) for it in packages), directed(spec.schedule))
        end_ns = round(spec.time_limit_s * 1e9)
        await self._play(acts, Until(end_ns, nemesis(faults)))
        self._note("heal")
        await self._play(acts, nemesis(lift(self._open.stops(acts.functions))))
        await acts.teardown()

    async def _play(self, acts: ComposedNemesis, generator: Any) -> None:
        """Each operation at its time; an act itself takes none."""
        spec, bed = self._test.spec, self._bed
        interpreter = Interpreter(
            generator,
            msgspec.structs.asdict(spec),
            concurrency=1,
            random=Random(spec.seed).stream("rehearsal"),
            record=lambda op: None,
            nodes=spec.nodes,
        )
        while True:
            action = interpreter.poll(bed.now_ns)
            if isinstance(action, WaitUntil):
                bed.now_ns = max(action.time_ns, bed.now_ns + 1)
            elif isinstance(action, Pseudo):
                bed.now_ns += (
                    round(float(action.op.value or 0) * 1e9) if action.op.f == "sleep" else 0
                )
                interpreter.complete(action.thread, action.op, bed.now_ns)
            elif isinstance(action, Invoke):
                done = await self._act(acts, action.op)
                self._open.saw(done)
                interpreter.complete(NEMESIS, done, bed.now_ns)
            else:
                return

    async def _act(self, acts: ComposedNemesis, op: Op) -> Op:
        self._open.saw(op)
        at = len(self._lines)
        try:
            done = await acts.invoke(op)
        except SplitbrainError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault may ask the running system
            self._note(f"{_told(op)}: what it does is decided when it happens ({error})", at)
            return msgspec.structs.replace(op, type="info")
        self._note(f"{_told(done)}{self._unsure(op)}", at)
        return done

    def _unsure(self, op: Op) -> str:
        """What stands for a leader whom nobody knows yet."""
        value = op.value if isinstance(op.value, Mapping) else {}
        words = [*value.get("targets", ()), str(value.get("parameters", {}).get("shape", ""))]
        aimed = any("leader" in str(word) or word == "follower" for word in words)
        return "; who leads is asked then" if aimed and not self._running.led else ""

    def _note(self, words: str, at: int | None = None) -> None:
        time_s = self._bed.time_ns() / 1e9
        self._lines.insert(len(self._lines) if at is None else at, f"# {time_s:.2f} s  {words}")


def _told(op: Op) -> str:
    """The fault, whom it hits, and how."""
    value = op.value if isinstance(op.value, Mapping) else {}
    parameters = {k: v for k, v in value.get("parameters", {}).items() if k != "cut"}
    words = [op.f, *map(str, value.get("targets") or ())]
    return " ".join([*words, *(f"{name}={it}" for name, it in parameters.items())])
