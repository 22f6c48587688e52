"""What a substrate and its proxy process say to each other: one JSON object a line, each answered.

    -> {"id":1,"op":"open","seed":7,"links":[{"name":"n1->n2","port":4001}]}
    <- {"id":1,"ports":{"n1->n2":4102}}
    -> {"id":2,"op":"set","states":{"n1->n2":{"forward":{"hold":true}}}}
    <- {"id":2}

``set`` gives whole states, never changes: saying the same twice does nothing.
"""

from __future__ import annotations

import msgspec

__all__ = ["Answer", "Counts", "Flow", "LinkSpec", "LinkState", "Order"]


class Flow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happens to the bytes of one direction of a link's connections.

    Attributes:
        hold: nothing passes; bytes are kept, up to a bound, then no longer read.
        delay_ms: added to each byte; throughput stays.
        jitter_ms: plus a uniform draw from [0, jitter_ms], the order of bytes kept.
        rate_kbps: kilobits a second; 0 for no limit.
    """

    hold: bool = False
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    rate_kbps: float = 0.0


class LinkState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happens on one link; the default is a clean one.

    Attributes:
        forward: bytes from the side that dialled.
        backward: bytes to the side that dialled.
        reset: connections are reset, new ones too, as soon as they are made.
    """

    forward: Flow = Flow()
    backward: Flow = Flow()
    reset: bool = False


class LinkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A link to be opened: its name, and where its connections lead."""

    name: str
    port: int
    host: str = "127.0.0.1"


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request.

    Attributes:
        op: ``open``, ``set``, ``counts`` or ``ping``.
        links: for ``open``.
        seed: for ``open``: from which jitter is drawn.
        states: for ``set``.
    """

    id: int
    op: str
    links: tuple[LinkSpec, ...] = ()
    seed: int = 0
    states: dict[str, LinkState] = {}


class Counts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a proxy has seen of one link: support for a proof, never a proof.

    Attributes:
        connections: accepted so far.
        open: open now.
        forward: bytes passed on to the far side.
        backward: bytes passed on to the side that dialled.
        held: bytes that wait in the proxy now, both directions.
        resets: connections that were reset by order.
    """

    connections: int = 0
    open: int = 0
    forward: int = 0
    backward: int = 0
    held: int = 0
    resets: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answer; ``error`` is a sentence if the order could not be carried out."""

    id: int
    error: str = ""
    ports: dict[str, int] = {}
    counts: dict[str, Counts] = {}
