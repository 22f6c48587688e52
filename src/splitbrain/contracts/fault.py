"""The faults, by name, and how far a system promises to withstand each."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Cut", "Fault", "Limit", "Proof", "Shape"]

Cut = tuple[tuple[str, str], ...]
"""Directed pairs (from, to) of node names: no payload passes from the first to the second."""


class Fault(StrEnum):
    """One kind of fault; what each means is the same on every substrate."""

    PARTITION = "partition"
    ONE_WAY = "one-way"
    KILL = "kill"
    POWER = "power"
    PAUSE = "pause"
    DELAY = "delay"
    RATE = "rate"
    LOSS = "loss"
    DUPLICATION = "duplication"
    REORDERING = "reordering"
    CORRUPTION = "corruption"
    CLOCK_JUMP = "clock-jump"
    CLOCK_STROBE = "clock-strobe"
    CLOCK_DRIFT = "clock-drift"
    DISK_SLOW = "disk-slow"
    CPU = "cpu"
    """A node gets little processor time."""
    OOM = "oom"
    """The kernel kills a node for want of memory."""
    CLIENT_LINKS = "client-links"
    """The links between our clients and the nodes can be cut or shaped too."""


class Shape(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is done to the messages or bytes of one directed link.

    Attributes:
        delay_ms: added to each message.
        jitter_ms: plus a uniform draw from [0, jitter_ms].
        loss: probability in [0, 1] that a message is lost.
        duplicate: probability that a message comes twice.
        reorder: probability that a message is held back behind later ones.
        corrupt: probability that a message is damaged (and so falls to its checksum).
        rate_kbps: kilobits a second; 0 for no limit.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    rate_kbps: float = 0.0


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """How far a system keeps its promises under one fault: its fault model.

    Attributes:
        nodes: on how many nodes at once: ``any`` or ``minority``.
        size: largest size (for drift: a rate such as 0.1), or None for any.
    """

    nodes: str = "any"
    size: float | None = None


class Proof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was observed of one fault on one target, by something other than its injector.

    Attributes:
        target: a node, or ``n1->n2`` for a link.
        effective: True if the observation shows the fault, False if it shows its absence, None
            if nothing could be observed.
        masked: the fault that held the target dead or paused meanwhile, so that no proof is due.
        observed: the observation in a few words, such as ``no byte in 0.4 s`` or ``state T``.
    """

    target: str
    effective: bool | None = None
    masked: str | None = None
    observed: str = ""
