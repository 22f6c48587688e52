"""What a generator may know: the time, which threads are free, which process each thread is.

A context is a value.  A thread t is the bit ``1 << (t + 1)`` of an integer, the nemesis (-1) bit 0,
so that marking a thread busy, or asking which threads of a group are free, is one integer operation
however many threads there are.  Only ``random`` changes: it is the generator's stream of draws.

    >>> from splitbrain.env.random import Random
    >>> ctx = Context.start(3, Random(1).stream("doc"))
    >>> ctx.threads
    (-1, 0, 1, 2)
    >>> ctx.busy(1).free_threads
    (-1, 0, 2)
    >>> renewed = ctx.renewed(1)
    >>> renewed.process(1), renewed.thread(4)
    (4, 1)
    >>> renewed.busy(0).free_processes
    (-1, 4, 2)
    >>> ctx.restrict(thread_bit(2)).some_free_process()
    2
"""

from __future__ import annotations

import msgspec

from splitbrain.env.random import Stream
from splitbrain.history.op import NEMESIS

__all__ = ["CLIENTS", "NEMESIS_ONLY", "Context", "bits", "thread_bit", "threads_of"]

NEMESIS_ONLY = 1
"""The mask of the nemesis."""

CLIENTS = ~NEMESIS_ONLY
"""The mask of all clients, however many there are."""


def thread_bit(thread: int) -> int:
    """The mask of one thread."""
    return 1 << (thread + 1)


def bits(mask: int) -> tuple[int, ...]:
    """Positions of the set bits, ascending.

    >>> bits(0b1011)
    (0, 1, 3)
    """
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return tuple(found)


def threads_of(mask: int) -> tuple[int, ...]:
    """Threads of a mask, ascending."""
    return tuple(position - 1 for position in bits(mask))


def _nth_bit(mask: int, n: int) -> int:
    """Position of the n-th set bit, by halving: logarithmic in the number of threads."""
    base = 0
    width = mask.bit_length()
    while width > 1:
        half = width >> 1
        low = mask & ((1 << half) - 1)
        count = low.bit_count()
        if n < count:
            mask = low
            width = half
        else:
            n -= count
            base += half
            mask >>= half
            width -= half
    return base


class Context(msgspec.Struct, frozen=True, eq=False):
    """The state of a run as a generator sees it; implements ``contracts.generator.Context``.

    Attributes:
        time_ns: now, since the test began.
        concurrency: number of client threads in the whole test.
        processes: process of each thread, at index thread + 1.
        mask: threads of this context.
        free_mask: those of them with nothing in flight.
        random: the generator's stream of draws.
    """

    time_ns: int
    concurrency: int
    processes: tuple[int, ...]
    mask: int
    free_mask: int
    random: Stream

    @classmethod
    def start(cls, concurrency: int, random: Stream, *, nemesis: bool = True) -> Context:
        """At the start of a test all threads are free, and each is the process of its number."""
        everyone = (1 << (concurrency + 1)) - 1
        mask = everyone if nemesis else everyone & CLIENTS
        return cls(0, concurrency, (NEMESIS, *range(concurrency)), mask, mask, random)

    @property
    def threads(self) -> tuple[int, ...]:
        """All threads of this context, ascending."""
        return threads_of(self.mask)

    @property
    def free_threads(self) -> tuple[int, ...]:
        """Those with no operation in flight, ascending."""
        return threads_of(self.free_mask)

    @property
    def free_processes(self) -> tuple[int, ...]:
        """The processes of the free threads, in the order of their threads."""
        return tuple(self.processes[position] for position in bits(self.free_mask))

    def process(self, thread: int) -> int:
        """The process that the thread now is."""
        return self.processes[thread + 1]

    def thread(self, process: int) -> int:
        """The thread that carries out (or carried out) this process."""
        return process if process < 0 else process % self.concurrency

    def some_free_process(self) -> int | None:
        """A free process, each with equal chance; None if all threads here are busy."""
        free = self.free_mask
        if not free:
            return None
        count = free.bit_count()
        if count == 1:
            return self.processes[free.bit_length() - 1]
        return self.processes[_nth_bit(free, int(self.random.random() * count))]

    def restrict(self, mask: int) -> Context:
        """Only the threads that are in ``mask`` too."""
        return Context(
            self.time_ns, self.concurrency, self.processes,
            self.mask & mask, self.free_mask & mask, self.random,
        )  # fmt: skip

    def at(self, time_ns: int) -> Context:
        """At another time."""
        return Context(
            time_ns, self.concurrency, self.processes, self.mask, self.free_mask, self.random
        )

    def busy(self, thread: int) -> Context:
        """With an operation in flight on ``thread``."""
        return Context(
            self.time_ns, self.concurrency, self.processes,
            self.mask, self.free_mask & ~thread_bit(thread), self.random,
        )  # fmt: skip

    def freed(self, thread: int) -> Context:
        """With nothing in flight on ``thread``."""
        return Context(
            self.time_ns, self.concurrency, self.processes,
            self.mask, self.free_mask | (thread_bit(thread) & self.mask), self.random,
        )  # fmt: skip

    def renewed(self, thread: int) -> Context:
        """With ``thread`` gone on as a new process, its number raised by the concurrency.

        The old process may have an operation that is still to take effect (its completion was
        ``info``), so that nobody may ever act under its number again.
        """
        at = thread + 1
        old = self.processes
        processes = (*old[:at], old[at] + self.concurrency, *old[at + 1 :])
        return Context(
            self.time_ns, self.concurrency, processes, self.mask, self.free_mask, self.random
        )
