"""When may which byte of one direction of one connection pass?  Pure: time comes in as a number.

Bytes are never lost, doubled or reordered; a direction only makes them late:

- A chunk that came at time t passes at ``t + delay + draw(jitter)``, and never before an earlier
  chunk.  The chunks of one delay overlap: a delay makes bytes late, it does not make a link slow.
  (A proxy that sleeps for each chunk would limit a 50 ms link to twenty chunks a second.)
- With a rate, chunks pass one after another, each taking size / rate, before the delay begins: a
  link's queue, then its wire.
- While it is held, nothing passes.  What waited passes at once when the hold ends.
- The end of the stream is a chunk of its own, so that it too comes in order.

Example::

    pipe = Pipe(Random(7).stream("jitter"))
    pipe.shape(Flow(delay_ms=50), 0.0)
    pipe.put(b"hello", 1.0)
    assert pipe.take(1.049) == [] and pipe.due(1.049) == 1.05
    assert pipe.take(1.05) == [b"hello"]
"""

from __future__ import annotations

from collections import deque

from splitbrain.env.random import Stream
from splitbrain.substrates.proxy.messages import Flow

__all__ = ["END", "RESET", "Ending", "Item", "Pipe"]


class Ending:
    """How a stream ends; the two instances are ``END`` and ``RESET``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


END = Ending("END")
"""The sender has nothing more to say (FIN)."""
RESET = Ending("RESET")
"""The sender's connection is gone (RST, or closed whole)."""

Item = bytes | Ending

_PIECE_S = 0.02
_PIECE_BYTES = 256


class Pipe:
    """One direction of one connection: bytes that have come and may not pass yet."""

    __slots__ = ("_flow", "_free", "_last", "_queue", "_stream", "waiting")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._flow = Flow()
        self._queue: deque[tuple[float, Item]] = deque()
        self._last = 0.0
        self._free = 0.0
        self.waiting = 0
        """Bytes in the queue."""

    def shape(self, flow: Flow, now: float) -> None:
        """From now on do this.  A clean flow lets pass at once whatever waited."""
        if flow == self._flow:
            return
        shaped = flow.delay_ms or flow.jitter_ms or flow.rate_kbps
        self._flow = flow
        if not shaped:
            self._queue = deque((min(when, now), item) for when, item in self._queue)
            self._last = self._free = now

    def put(self, item: Item, now: float) -> None:
        """A chunk, or the end, has come."""
        if isinstance(item, Ending) or not self._flow.rate_kbps:
            self._put(item, now)
            return
        # In pieces, so that a slow link gives a stream of bytes and not a burst once a second.
        size = max(_PIECE_BYTES, int(self._flow.rate_kbps * 125 * _PIECE_S))
        for at in range(0, len(item), size):
            self._put(item[at : at + size], now)

    def _put(self, item: Item, now: float) -> None:
        flow = self._flow
        size = 0 if isinstance(item, Ending) else len(item)
        when = now
        if flow.rate_kbps:
            self._free = max(self._free, now) + size / (flow.rate_kbps * 125)
            when = self._free
        if flow.delay_ms or flow.jitter_ms:
            when += (flow.delay_ms + self._stream.random() * flow.jitter_ms) / 1000
        self._last = max(self._last, when)
        self._queue.append((self._last, item))
        self.waiting += size

    def take(self, now: float) -> list[Item]:
        """All that may pass now, in order; neighbouring chunks are joined."""
        if self._flow.hold:
            return []
        taken: list[Item] = []
        chunks: list[bytes] = []
        while self._queue and self._queue[0][0] <= now:
            item = self._queue.popleft()[1]
            if isinstance(item, Ending):
                if chunks:
                    taken.append(b"".join(chunks))
                    chunks = []
                taken.append(item)
            else:
                self.waiting -= len(item)
                chunks.append(item)
        if chunks:
            taken.append(b"".join(chunks))
        return taken

    def due(self, now: float) -> float | None:
        """When something more may pass by the course of time alone; None if never."""
        if self._flow.hold or not self._queue:
            return None
        return max(self._queue[0][0], now)

    def drop(self) -> None:
        """Forget what waits: nobody is left to receive it."""
        self._queue.clear()
        self.waiting = 0
