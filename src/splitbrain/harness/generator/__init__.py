"""Generators: immutable values that yield the operations of a test.

    reads = lambda: {"f": "read"}
    writes = ({"f": "write", "value": n} for n in itertools.count())
    clients(time_limit(60, stagger(1 / 100, mix(reads, writes))))

Plain values lift into generators: None (done), a mapping (ONE operation), a callable of () or
(test, ctx) (called for ever), an iterable (one after the other).  Every draw comes from
``ctx.random``.  ``simulate`` and ``invocations`` run one without a cluster:

    >>> ops = invocations(limit(4, mix(repeat({"f": "read"}), repeat({"f": "write"}))), seed=1)
    >>> len(ops)
    4

- threads: on_threads, clients, nemesis, each_thread, each_process, reserve
- choice: any_of, shortest_any, mix, flip_flop
- number and span: limit, once, repeat, cycle, time_limit, process_limit, concurrency_limit, until_ok
- pace: stagger, delay, sleep, cycle_times, cache
- order: concat, synchronize, phases, then
- later: Promise, lazily
- change: map, f_map, filter, on_update, trace, log
- keys: concurrent_keys, sequential_keys
"""

from __future__ import annotations

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator
from splitbrain.harness.generator.bounds import (
    concurrency_limit,
    cycle,
    limit,
    once,
    process_limit,
    repeat,
    time_limit,
    until_ok,
)
from splitbrain.harness.generator.change import f_map, filter, map, on_update, trace  # noqa: A004
from splitbrain.harness.generator.choice import any_of, flip_flop, mix, shortest_any
from splitbrain.harness.generator.keys import concurrent_keys, sequential_keys
from splitbrain.harness.generator.lift import Promise, concat, lazily, lift
from splitbrain.harness.generator.order import phases, synchronize, then
from splitbrain.harness.generator.pace import (
    cache,
    cycle_times,
    delay,
    log,
    sleep,
    stagger,
)
from splitbrain.harness.generator.simulate import (
    imperfect,
    instant,
    invocations,
    perfect,
    perfect_info,
    simulate,
)
from splitbrain.harness.generator.threads import (
    clients,
    each_process,
    each_thread,
    nemesis,
    on_threads,
    reserve,
)

__all__ = [
    "PENDING",
    "Context",
    "Emit",
    "Generator",
    "Promise",
    "any_of",
    "cache",
    "clients",
    "concat",
    "concurrency_limit",
    "concurrent_keys",
    "cycle",
    "cycle_times",
    "delay",
    "each_process",
    "each_thread",
    "f_map",
    "filter",
    "flip_flop",
    "imperfect",
    "instant",
    "invocations",
    "lazily",
    "lift",
    "limit",
    "log",
    "map",
    "mix",
    "nemesis",
    "on_threads",
    "on_update",
    "once",
    "perfect",
    "perfect_info",
    "phases",
    "process_limit",
    "repeat",
    "reserve",
    "sequential_keys",
    "shortest_any",
    "simulate",
    "sleep",
    "stagger",
    "synchronize",
    "then",
    "time_limit",
    "trace",
    "until_ok",
]
