"""Plug-ins that return nonsense: exit 4, one message with all that is wrong and whose it is.

What had been recorded until then stays on disk and can be checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from splitbrain.results.runs import read_run

Invoke = Callable[..., Result]

BASE = """
import msgspec
import splitbrain
from splitbrain.contracts.fault import Proof
from splitbrain.contracts.generator import PENDING, Emit
from splitbrain.history.op import Op
from splitbrain.nemesis.base import Draft
from splitbrain.workloads.kv_client import KvClient
from splitbrain.workloads.register import register


def mine(**parts):
    return lambda spec: msgspec.structs.replace(register(spec), **parts)

"""

CLIENT = """
class Rotten(KvClient):
    count = 0
    async def invoke(self, op):
        done = await super().invoke(op)
        Rotten.count += 1
        if Rotten.count < 30:
            return done
        return msgspec.structs.replace(done, process=99, type="maybe", error=7, value=self)
    async def open(self, node):
        return Rotten(self._open_kv, await self._open_kv(node))

WORKLOADS = {"mine": mine(client=Rotten)}
"""

GENERATOR = """
class Rotten:
    def __init__(self, count):
        self.count = count
    def op(self, test, ctx):
        process = ctx.some_free_process()
        if process is None:
            return PENDING
        if self.count < 30:
            op = Op(process=process, type="invoke", f="read", key=1, time_ns=ctx.time_ns)
            return Emit(op, Rotten(self.count + 1))
        return Emit(Op(process=99, type="ok", f=3, value=self), "nothing")
    def update(self, test, ctx, event):
        return self

WORKLOADS = {"mine": mine(generator=Rotten(0))}
"""

CALLED = """
counts = iter(range(100))
def Rotten():
    return {"f": "read", "key": 1} if next(counts) < 30 else 7

WORKLOADS = {"mine": mine(generator=Rotten)}
"""

FAMILY = """
class Sound:
    faults = frozenset({"rot"})
    def __init__(self, world): pass
    def kinds(self, name): return frozenset()
    def draft(self, name, stream): return Draft(fault="rot", targets=("one",))
    async def start(self, act): return ("n1",), {}, [Proof(target="n1", effective=True)]
    async def stop(self, act): return ("n1",), {}, ()
    async def heal(self): return (), {}, ()

class Rotten(Sound):
    METHOD

NEMESES = {"rotten": Rotten}
"""
START = 'async def start(self, act): return "n1", [], [Proof(target="n1", effective="yes"), 7]'
DRAFT = 'def draft(self, name, stream): return Draft(fault="mould", targets="n1", parameters=3)'
HEAL = "async def heal(self): return 3"
FAULTS = "def __init__(self, world): self.faults = ['rot']; self.stop = None"


def family(method: str) -> str:
    return FAMILY.replace("METHOD", method)


OWN = """
async def nothing(world, node):
    pass
async def Rotten(world, node):
    return "yes"

NEMESES = {"rotten": splitbrain.fault("rot", nothing, nothing, Rotten)}
"""


@pytest.mark.parametrize(
    ("text", "told", "recorded"),
    [
        pytest.param(
            CLIENT,
            ("client Rotten (", "process should stay ", ", was 99",
             "type should be ok or fail or info, was 'maybe'",
             "error should be a string or None, was 7", "value cannot be written as JSON",
             "invocation Op(", "completion Op("),
            29,
            id="client",
        ),
        pytest.param(
            GENERATOR,
            ("generator Rotten (", "gave Op(", "process should be 9, was 99",
             "type should be invoke, was 'ok'", "f should be a string, was 3",
             "time_ns should be 0 or more", "value cannot be written as JSON",
             "what follows is 'nothing', no generator"),
            10,
            id="generator",
        ),
        pytest.param(
            CALLED, ("what Rotten (", "gave: 7 cannot be made a generator"), 10, id="function"
        ),
        pytest.param(
            family(START),
            ("family Rotten (", "in start: targets should be a list of names, was 'n1'",
             "parameters should be a mapping, was []", "Expected `bool | null`, got `str`",
             "proof 7: ", "asked start-rot {'id': 'rot-1', ", "answered ('n1', [], ["),
            30,
            id="family-start",
        ),
        pytest.param(
            family(DRAFT),
            ("family Rotten (", "in draft: fault should be one of rot, was 'mould'",
             "targets should be a list of names, was 'n1'", "parameters should be a mapping, was 3",
             "asked 'rotten', answered Draft("),
            0,
            id="family-draft",
        ),
        pytest.param(
            family(HEAL),
            ("family Rotten (", "in heal: ", "should be returned, was 3; asked to heal all"),
            100,
            id="family-heal",
        ),
        pytest.param(
            family(FAULTS),
            ("Rotten (", "is no family of faults: stop should be callable; ",
             "faults should be a frozenset of names, was ['rot']"),
            0,
            id="family-faults",
        ),
        pytest.param(
            OWN,
            ("fault 'rot' broke its contract: seen=Rotten (", "gave 'yes' for n"),
            30,
            id="fault",
        ),
    ],
)  # fmt: skip
def test_nonsense_is_told_at_once_with_its_file_and_the_history_is_kept(
    text: str, told: tuple[str, ...], recorded: int, invoke: Invoke, tmp_path: Path
) -> None:
    text = BASE + text
    (tmp_path / "mine.py").write_text(text)
    own = ["mine"] if "WORKLOADS" in text else ["register", "--nemesis", "rotten"]
    words = ["--load", "mine.py", "--time-limit", "3", "--nemesis-interval", "1", "--seed", "1"]
    done = invoke("run", *own, "--on", "sim", *words)
    assert done.exit_code == 4, done.output
    message, kept = done.stderr.splitlines()
    for part in ("splitbrain: ", *told, f"mine.py:{line_of_rotten(text)})"):
        assert part in message, message
    directory = tmp_path / kept.removeprefix("    the history so far is kept in ")
    history = read_run(directory).history
    assert sum(op.type == "ok" for op in history) >= recorded
    assert history[-1].f == "phase"
    assert history[-1].value["error"].split(" (")[0] in f"HarnessError: {message[12:]}"
    again = invoke("check", directory / "history.jsonl", "--model", "register")
    assert again.exit_code == 0, again.output
    again = invoke("check", directory, "--load", "mine.py")
    assert again.exit_code == 3, again.output


def line_of_rotten(text: str) -> int:
    """Where what is named Rotten begins."""
    lines = text.splitlines()
    return next(
        n for n, line in enumerate(lines, 1) if re.search(r"(class|def) Rotten\b", line)
    )


def test_a_class_without_a_frozenset_of_faults_is_refused_before_anything_starts(
    invoke: Invoke, tmp_path: Path, one_line: Callable[[Result], str]
) -> None:
    text = BASE + family("faults = {'rot'}")
    (tmp_path / "mine.py").write_text(text)
    done = invoke("run", "register", "--on", "sim", "--load", "mine.py", "--nemesis", "rotten")
    assert done.exit_code == 2
    line = text[: text.index("NEMESES")].count("\n") + 1
    assert one_line(done) == f"mine.py:{line}: NEMESES['rotten'] has no frozenset faults"
    assert not (tmp_path / "store").exists()
