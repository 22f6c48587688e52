"""Writes docs/generators.md from the docstrings of the generators: ``python docs/make_generators.py``.

Every example on the page is one that the tests execute, and a test compares the page with what this
makes of today's docstrings; so the page cannot say what the code does not do.
"""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from splitbrain.env.random import Stream
from splitbrain.harness import generator, validate

PAGE = Path(__file__).with_name("generators.md")

INTRODUCTION = """\
# Generators

<!-- Made by `python docs/make_generators.py`; change the docstrings, not this page. -->

A generator says which operation comes next, on which client, and when. It is an immutable value with
two methods: `op(test, ctx)` gives the next operation and the generator that follows, PENDING, or None
when it is exhausted; `update(test, ctx, event)` is told of each event of the test and gives the
generator that follows. You seldom write one: you combine those below.

Everything is in `splitbrain.harness.generator`. `invocations(gen)` and `simulate(gen)` play a generator
with imaginary clients and no cluster, so that each example can be tried at a prompt. Every example on
this page is executed by the tests.
"""

LIFTING = """\
## Values that are generators already

| value | meaning |
|---|---|
| `None` | exhausted |
| a mapping, `{"f": "write", "value": 1}` | ONE operation; process and time are filled in |
| a callable of `()` or `(test, ctx)` | called for ever, each result played out; None ends it |
| any other iterable (list, iterator) | its elements, each a generator, one after the other |
"""

GROUPS = {
    "Threads": "on_threads clients nemesis each_thread each_process reserve",
    "Choice": "any_of shortest_any mix flip_flop",
    "How many, how long": (
        "limit once repeat cycle time_limit process_limit concurrency_limit until_ok"
    ),
    "Pace": "stagger delay sleep cycle_times cache",
    "Order": "concat synchronize phases then",
    "Later": "Promise lazily",
    "Change and watch": "map f_map filter on_update trace log",
    "Keys": "concurrent_keys sequential_keys",
    "Without a cluster": "lift simulate invocations instant perfect perfect_info imperfect",
}

AUTOMATIC = """\
## Done without asking

The harness checks every operation of every generator, and tells all that is wrong with it at once; an
exception comes with the generator, the context and the event that caused it. The run ends with exit
code 4, and its history so far is kept.
"""

DRAWS = """\
## Draws

All draws of a generator come from `ctx.random`, a stream of the run's seed. It has what Python's
`random.Random` has, and these.
"""

JEPSEN = {
    "validate, friendly-exceptions": "always on",
    "trace": "trace",
    "map, f-map, filter, on-update": "map, f_map, filter, on_update",
    "on-threads, clients, nemesis": "on_threads, clients, nemesis",
    "any, shortest-any": "any_of, shortest_any",
    "each-thread, each-process": "each_thread, each_process",
    "reserve, mix": "reserve, mix",
    "limit, once, repeat, cycle": "limit, once, repeat, cycle",
    "process-limit, concurrency-limit": "process_limit, concurrency_limit",
    "time-limit, until-ok": "time_limit, until_ok",
    "stagger, delay, sleep, log": "stagger, delay, sleep, log",
    "synchronize, phases, then, concat": "synchronize, phases, then, concat",
    "flip-flop, cycle-times, cache": "flip_flop, cycle_times, cache",
    "a promise, a delay": "Promise, lazily",
    "independent/sequential-generator": "sequential_keys",
    "independent/concurrent-generator": "concurrent_keys",
    "quick, perfect, perfect-info, imperfect, simulate": (
        "instant, perfect, perfect_info, imperfect, simulate"
    ),
}


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, LIFTING]
    for title, names in GROUPS.items():
        rows = [_row(name, getattr(generator, name)) for name in names.split()]
        parts.append(_table(f"## {title}\n", "combinator", rows))
    rows = [_row("what it gives", validate.check_offer), _row("what it raises", validate.told)]
    parts.append(
        _table(
            AUTOMATIC,
            "of a generator",
            [re.sub(r"\(.*?\)`", "`", row, count=1) for row in rows],
        )
    )
    own = [name for name, value in vars(Stream).items() if inspect.isfunction(value)]
    parts.append(_table(DRAWS, "draw", [_row(name, getattr(Stream, name)) for name in own]))
    rows = [f"| {theirs} | {ours} |" for theirs, ours in JEPSEN.items()]
    parts.append("\n".join(["## From Jepsen\n", "| Jepsen | here |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def _table(head: str, first: str, rows: list[str]) -> str:
    return "\n".join([head, f"| {first} | meaning | example |", "|---|---|---|", *rows, ""])


def _row(name: str, what: Any) -> str:
    text = inspect.getdoc(what) or ""
    cells = (_cell(_code(_signature(name, what))), _words(text), "<br>".join(_example(text)))
    return "| " + " | ".join(cells) + " |"


def _signature(name: str, what: Any) -> str:
    """The call, without annotations."""
    signature = inspect.signature(what)
    kept = [
        parameter.replace(annotation=parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    plain = signature.replace(parameters=kept, return_annotation=inspect.Signature.empty)
    # A function as a default is shown by its name: its repr holds an address.
    return re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", f"{name}{plain}")


def _words(text: str) -> str:
    """The docstring's sentences, without its examples and sections."""
    end = re.search(r"^(Raises:|Args:|Returns:|>>>)", text, re.MULTILINE)
    prose = text if end is None else text[: end.start()]
    prose = prose.replace("``", "`")
    return _cell(" ".join(prose.split()))


def _example(text: str) -> Iterator[str]:
    """Each line of the example as code, what it gives after an arrow; imports are left out."""
    for example in doctest.DocTestParser().get_examples(text):
        if example.source.startswith(("from ", "import ")):
            continue
        yield from (_cell(_code(line)) for line in example.source.splitlines())
        for line in example.want.splitlines():
            yield "→ " + _cell(_code(line))


def _code(text: str) -> str:
    """Code in a line of Markdown; backticks inside need a longer fence."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
