"""The reference: every linear extension of the real-time order, with a memory, and nothing clever.

The real-time order is drawn as a graph: an edge from one call to another if the first had ended
before the second began.  A linearization is an order of the graph's nodes in which no node comes
before one that leads to it, every completed call occurs, and the model accepts the sequence.  The
search places one ready call after another and remembers each pair of (calls placed, state) from
which it found no way; two paths that placed the same calls and ended in the same state have the
same futures.  Exponential in the number of concurrent calls: it is the oracle to which all other
engines are compared, and answers ``--engine reference``.

Wing & Gong, *Testing and verifying concurrent objects* (1993); the memory is Lowe's (2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.model import Model
from splitbrain.checkers.linearizable.prepare import OPEN, Call, Outcome
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["check_reference", "real_time_order"]

BYTES_PER_STATE = 400
"""What one remembered pair costs, estimated high."""


def real_time_order(calls: Sequence[Call]) -> nx.DiGraph[int]:
    """The graph of "had ended before the other began" on call numbers."""
    import networkx as nx  # slow to load, and only this engine needs it

    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(call.number for call in calls)
    graph.add_edges_from(
        (first.number, then.number)
        for first in calls
        for then in calls
        if first.end < then.begin
    )
    return graph


def check_reference(
    calls: Sequence[Call], model: Model, budget: Budget, steps_max: int | None = None
) -> Outcome:
    """Decide by trying every order; ``steps_max`` bounds the pairs remembered."""
    graph = real_time_order(calls)
    before = [sum(1 << other for other in graph.predecessors(c.number)) for c in calls]
    completed = sum(1 << call.number for call in calls if not call.crashed)
    steps = OPEN if steps_max is None else steps_max
    bounds = (budget.bytes_max // BYTES_PER_STATE, steps)

    def ready(placed: int) -> Iterator[int]:
        for number, needs in enumerate(before):
            if not placed >> number & 1 and needs & ~placed == 0:
                yield number

    start = (0, model.init())
    seen = {start}
    path: list[int] = []
    stack = [(start, ready(0))]
    while stack:
        (placed, state), candidates = stack[-1]
        if placed & completed == completed:
            needed = tuple(number for number in path if calls[number].crashed)
            return Outcome(
                verdict=VALID,
                engine="reference",
                order=tuple(path),
                needed=needed,
                explored=len(seen),
            )
        for number in candidates:
            after = model.step(state, calls[number].action)
            if after is None:
                continue
            node = (placed | 1 << number, after)
            if node not in seen:
                seen.add(node)
                path.append(number)
                stack.append((node, ready(node[0])))
                break
        else:
            stack.pop()
            if path:
                path.pop()
        why = _spent(len(seen), bounds, budget)
        if why is not None:
            return Outcome(verdict=UNKNOWN, engine="reference", explored=len(seen), why=why)
    return Outcome(verdict=INVALID, engine="reference", explored=len(seen))


def _spent(seen: int, bounds: tuple[int, int], budget: Budget) -> str | None:
    """Which bound is reached: of bytes, of steps, or of time."""
    if seen > bounds[0]:
        return "memory"
    if seen > bounds[1]:
        return "steps"
    return "time" if seen % 64 == 0 and budget.exceeded() else None
