"""iptables rules in chains of our own: who is dropped, who is queued.

All rules of a state are put in place by one ``iptables-restore --noflush``, so that they come into
force together and take a few milliseconds however many they are.  Each chain is jumped to from the
top of INPUT or OUTPUT while it has rules, and is removed with its jump when it has none: a healed
namespace looks as if we had never been there.

    >>> print(restore_text(chains_of(State(cut_from=("10.0.0.2",))), frozenset()), end="")
    *filter
    :SPLITBRAIN-IN - [0:0]
    -A SPLITBRAIN-IN -s 10.0.0.2/32 -j DROP
    -I INPUT 1 -j SPLITBRAIN-IN
    COMMIT
    >>> print(restore_text({}, frozenset({"SPLITBRAIN-IN"})), end="")
    *filter
    -D INPUT -j SPLITBRAIN-IN
    -F SPLITBRAIN-IN
    -X SPLITBRAIN-IN
    COMMIT

IPv4 only: nodes that speak IPv6 to each other are not touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = [
    "CHAINS",
    "MARK",
    "NEEDS",
    "QUEUE",
    "State",
    "chains_of",
    "leftovers_text",
    "restore_text",
    "try_text",
]

CHAINS = {
    "SPLITBRAIN-IN": "INPUT",
    "SPLITBRAIN-OUT": "OUTPUT",
    "SPLITBRAIN-SHAPE-IN": "INPUT",
    "SPLITBRAIN-SHAPE-OUT": "OUTPUT",
}
"""Our chains, and whence each is jumped to."""

QUEUE = 5151
"""The packet queue's number; queues belong to a network namespace."""

MARK = 0x5B1A05
"""On packets that have been through the queue, so that they are not queued again."""

TRY = "SPLITBRAIN-TRY"


class State(NamedTuple):
    """All that our rules do at one time; addresses are IPv4, each tuple sorted.

    Attributes:
        cut_from: sources whose packets are dropped on arrival.
        cut_to: destinations to which packets are dropped on leaving.
        queue_from: sources whose packets go through the queue on arrival.
        queue_to: destinations to which packets go through the queue on leaving.
        lose_from: probability of loss by source, where there is no queue.
        lose_to: probability of loss by destination, where there is no queue.
        spare: local TCP ports whose packets are never touched, such as that of an SSH server.
    """

    cut_from: tuple[str, ...] = ()
    cut_to: tuple[str, ...] = ()
    queue_from: tuple[str, ...] = ()
    queue_to: tuple[str, ...] = ()
    lose_from: tuple[tuple[str, float], ...] = ()
    lose_to: tuple[tuple[str, float], ...] = ()
    spare: tuple[int, ...] = ()


def chains_of(state: State) -> Mapping[str, Sequence[str]]:
    """The rules of each chain that has any."""
    marked = f"-m mark --mark {MARK:#x} -j RETURN"
    queue = f"-j NFQUEUE --queue-num {QUEUE} --queue-bypass"
    chains = {
        "SPLITBRAIN-IN": [f"-s {ip}/32 -j DROP" for ip in state.cut_from],
        "SPLITBRAIN-OUT": [f"-d {ip}/32 -j DROP" for ip in state.cut_to],
        "SPLITBRAIN-SHAPE-IN": [f"-s {ip}/32 {queue}" for ip in state.queue_from]
        + [f"-s {ip}/32 {_lose(share)}" for ip, share in state.lose_from],
        "SPLITBRAIN-SHAPE-OUT": [f"-d {ip}/32 {queue}" for ip in state.queue_to]
        + [f"-d {ip}/32 {_lose(share)}" for ip, share in state.lose_to],
    }
    for name, rules in chains.items():
        if rules:
            port = "--dport" if CHAINS[name] == "INPUT" else "--sport"
            first = [f"-p tcp {port} {spare} -j RETURN" for spare in state.spare]
            if "SHAPE" in name:
                first.append(marked)
            chains[name] = first + rules
    return {name: rules for name, rules in chains.items() if rules}


def _lose(share: float) -> str:
    return f"-m statistic --mode random --probability {share:.8f} -j DROP"


def restore_text(chains: Mapping[str, Sequence[str]], installed: frozenset[str]) -> str:
    """Input of ``iptables-restore --noflush`` that leads from the installed chains to these."""
    lines = ["*filter"]
    # Naming a chain creates it, or empties the one that is there.
    lines += [f":{name} - [0:0]" for name in CHAINS if name in chains]
    for name, parent in CHAINS.items():
        lines += [f"-A {name} {rule}" for rule in chains.get(name, ())]
        # A jump is made anew each time: it must be the first, and if somebody has removed it the
        # whole text is to fail rather than to have no effect.
        if name in installed:
            lines.append(f"-D {parent} -j {name}")
        if name in chains:
            lines.append(f"-I {parent} 1 -j {name}")
        elif name in installed:
            lines += [f"-F {name}", f"-X {name}"]
    return "\n".join([*lines, "COMMIT", ""])


def leftovers_text(listing: str) -> str:
    """What removes all that is ours from a filter table that ``iptables -S`` lists; "" if nothing."""
    ours = {*CHAINS, TRY}
    jumps, names = [], []
    for line in listing.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "-N" and words[1] in ours:
            names.append(words[1])
        elif len(words) == 4 and words[0] == "-A" and words[3] in ours:
            jumps.append(f"-D {words[1]} -j {words[3]}")
    if not names:
        return ""
    flush = [f"-F {name}" for name in names] + [f"-X {name}" for name in names]
    return "\n".join(["*filter", *jumps, *flush, "COMMIT", ""])


def try_text(*rules: str) -> str:
    """Input that puts rules into a chain that nothing leads to, and removes them again."""
    lines = ["*filter", f":{TRY} - [0:0]"]
    lines += [f"-A {TRY} -s 192.0.2.1/32 {rule}" for rule in rules]
    return "\n".join([*lines, f"-F {TRY}", f"-X {TRY}", "COMMIT", ""])


NEEDS = {
    "iptables": "-j DROP",
    "statistic": _lose(0.5),
    "queue-rule": f"-m mark ! --mark {MARK:#x} -j NFQUEUE --queue-num {QUEUE} --queue-bypass",
}
"""A harmless rule for each thing that the kernel and iptables must both know."""
