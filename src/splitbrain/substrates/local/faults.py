"""What a set of faults makes of every link: a pure fold, so that healing one leaves the rest.

A node link ``i->j`` is the proxy through which i dials j.  Its *forward* bytes are i's messages; its
*backward* bytes are what j's transport says on that connection: acknowledgements, window updates,
and answers.  j's own messages to i go forward through ``j->i``.

- A cut of i to j holds what is forward in ``i->j``.  Where j to i is cut as well, backward bytes are
  held too: then nothing at all passes between the two.  A one-way cut leaves them, else it would
  stop j's connection to i within its keepalive time, and be no longer one-way.
- A delay follows the same rule: backward bytes are late where both directions are shaped.
- A *reset* cut ends the connections of ``i->j`` and every new one at once.
- Faults add up: delays and jitters are summed, the lowest rate holds, a reset outdoes a hold.

A client link ``("client", j)`` is the forward direction of the proxy before j, ``(j, "client")`` its
backward direction: exact both ways.

    >>> cut = Cutting(links=(("n1", "n2"),), reset=False)
    >>> fold([("n1", "n2"), ("n2", "n1")], [cut])[("n1", "n2")].forward.hold
    True
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from splitbrain.contracts.fault import Cut, Shape
from splitbrain.substrates.proxy.messages import Flow, LinkState

__all__ = ["CLIENT", "Cutting", "Link", "Shaping", "fold"]

CLIENT = "client"
Link = tuple[str, str]


class Cutting(msgspec.Struct, frozen=True, kw_only=True):
    """A cut that is in force."""

    links: Cut
    reset: bool = False


class Shaping(msgspec.Struct, frozen=True, kw_only=True):
    """A shape that is in force."""

    links: Cut
    shape: Shape


def fold(
    proxies: Sequence[Link], faults: Iterable[Cutting | Shaping]
) -> Mapping[Link, LinkState]:
    """The state of each proxy; a client proxy is ``("client", node)``."""
    flows: dict[Link, Flow] = {}
    resets: set[Link] = set()
    for fault in faults:
        for link in fault.links:
            before = flows.get(link, _CLEAN)
            if isinstance(fault, Shaping):
                flows[link] = _add(before, fault.shape)
            elif fault.reset:
                resets.add(link)
            else:
                flows[link] = msgspec.structs.replace(before, hold=True)
    return {proxy: _state(proxy, flows, resets) for proxy in proxies}


def _state(proxy: Link, flows: Mapping[Link, Flow], resets: set[Link]) -> LinkState:
    back = (proxy[1], proxy[0])
    forward, backward = flows.get(proxy, _CLEAN), flows.get(back, _CLEAN)
    if proxy[0] == CLIENT:
        reset = proxy in resets or back in resets
        return LinkState(forward=forward, backward=backward, reset=reset)
    # A peer whose own direction is reset speaks to nobody: for the other proxy it counts as held.
    both = (forward.hold or proxy in resets) and (backward.hold or back in resets)
    shaped = _shaped(forward) and _shaped(backward)
    source = backward if shaped else _CLEAN
    return LinkState(
        forward=forward,
        backward=msgspec.structs.replace(source, hold=both),
        reset=proxy in resets,
    )


def _add(flow: Flow, shape: Shape) -> Flow:
    rates = [rate for rate in (flow.rate_kbps, shape.rate_kbps) if rate > 0]
    return Flow(
        hold=flow.hold,
        delay_ms=flow.delay_ms + shape.delay_ms,
        jitter_ms=flow.jitter_ms + shape.jitter_ms,
        rate_kbps=min(rates, default=0.0),
    )


def _shaped(flow: Flow) -> bool:
    return bool(flow.delay_ms or flow.jitter_ms or flow.rate_kbps)


_CLEAN = Flow()
