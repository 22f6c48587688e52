"""Directed schedules: bugs that random faults seldom reach, reached by a plan.

Each is for three nodes, and for the knobs that its bug's command sets: election timeouts long enough
that the schedule alone decides who campaigns, and when.  A fate that stays with the seed, such as
what a disk keeps when its power goes, is met by going through the plan several times.

Times are in seconds of the test; T, the election timeout, is 1 s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from splitbrain.contracts.spec import ScheduledFault

__all__ = ["SCHEDULES"]


def _at(
    time_s: float,
    f: str,
    id: str = "",  # noqa: A002
    *targets: str,
    **parameters: Any,
) -> ScheduledFault:
    time_ns = round(time_s * 1e9)
    return ScheduledFault(time_ns=time_ns, f=f, id=id, targets=targets, parameters=parameters)


def _cut(time_s: float, id: str, *pairs: str) -> ScheduledFault:  # noqa: A002
    """Cut links such as ``n1-n2``, at once: the probes of a proof would take too long."""
    ends = [pair.split("-") for pair in pairs]
    both = [link for i, j in ends for link in ([i, j], [j, i])]
    return _at(time_s, "start-partition", id, cut=both, proof=False)


def _heal(time_s: float, id: str) -> ScheduledFault:  # noqa: A002
    return _at(time_s, "stop-partition", id)


def _campaign(time_s: float, node: str) -> ScheduledFault:
    return _at(time_s, "start-admin", "", node, action="campaign")


def _transfer(time_s: float, to: str) -> ScheduledFault:
    return _at(time_s, "start-admin", "", "leader", action="transfer-leader", to=to)


def _vote_not_durable(begin_s: float) -> Sequence[ScheduledFault]:
    """n3, between n1 and n2, votes for n1, loses power, and votes for n2 in the same term.

    Its answer to n1 is still under way meanwhile, as n3's messages to n1 are slow.  When it has
    arrived there are two leaders of one term, and n3 obeys both.  At first n1 leads.  It is cut off
    from n3 before it is restarted, so that n3's log is behind both of theirs; and theirs are equal,
    so that both leaders put their first entries in the same places, and n3 cannot tell them apart.
    """
    t, tag = begin_s, f"{begin_s:g}"
    return (
        _cut(t, f"apart-{tag}", "n1-n3"),
        _at(t + 0.5, "start-kill", f"kill-{tag}", "n1"),
        _at(t + 0.6, "stop-kill", f"kill-{tag}", "n1"),
        _cut(t + 0.7, f"split-{tag}", "n1-n2"),
        _heal(t + 1.1, f"apart-{tag}"),
        _at(t + 1.4, "start-delay", f"slow-{tag}", links=[["n3", "n1"]], delay_ms=600.0),
        _campaign(t + 2.2, "n1"),  # n3 votes at t + 2.8, n1 knows it at t + 3.4
        _at(t + 2.9, "start-power", f"power-{tag}", "n3"),
        _at(t + 3.0, "stop-power", f"power-{tag}", "n3"),
        _campaign(t + 3.1, "n2"),
        _at(t + 3.5, "stop-delay", f"slow-{tag}"),
        _heal(t + 6.0, f"split-{tag}"),
    )


def _commit_old_term(begin_s: float) -> Sequence[ScheduledFault]:
    """Figure 8 of the Raft paper: n1 leads, then n2, n1 and n2 again, each elected by n3.

    What n1 and n2 tell n3 takes 600 ms, so that of the second leader's log nothing reaches n3, and
    of the third one's only the first entry: one of n1's own first term, which only n1 and n3 have
    then.  n2's log ends with a later term, so n2 may be elected and overwrite it.  n1 is not
    restarted, so that it still answers the client that asked for the write.
    """
    t, tag = begin_s, f"{begin_s:g}"
    slow = [["n1", "n3"], ["n2", "n3"]]
    return (
        _transfer(t - 2.0, "n1"),
        _cut(t, f"n1-n2-{tag}", "n1-n2"),
        _cut(t, f"n1-n3-{tag}", "n1-n3"),
        _at(t + 0.1, "start-delay", f"slow-{tag}", links=slow, delay_ms=600.0),
        _campaign(t + 1.4, "n2"),  # n3 votes at t + 2.6
        _cut(t + 2.9, f"n2-n3-{tag}", "n2-n3"),
        _heal(t + 3.1, f"n1-n3-{tag}"),
        _campaign(t + 3.2, "n1"),  # refused: learns of n2's term
        _campaign(t + 4.0, "n1"),  # n3 votes at t + 5.2, has n1's first old entry at t + 6.4
        _cut(t + 6.7, f"n1-n3-again-{tag}", "n1-n3"),
        _heal(t + 6.8, f"n2-n3-{tag}"),
        _at(t + 6.9, "stop-delay", f"slow-{tag}"),
        _campaign(t + 8.0, "n2"),  # refused: learns of n1's term
        _campaign(t + 8.2, "n2"),
        _heal(t + 10.5, f"n1-n2-{tag}"),
        _heal(t + 10.6, f"n1-n3-again-{tag}"),
    )


def _truncate_on_match(begin_s: float) -> Sequence[ScheduledFault]:
    """n3 alone stands for the majority of the leader n1, and is told late what to append.

    Each message takes 45 ms, but for 30 ms those from n1 to n3 are held back for 200 ms.  n3 refuses
    what overtakes them, and after three ways in all has what n1 sends in its place: all that was
    held back, and more.  After four ways n1 knows that, and acknowledges all of it to its clients.
    Then comes what was held back, and the last of it cuts off what is behind it.  After five ways
    n3 would hear what is committed; n1 is cut off before, and n3 leads.

    A heartbeat's answer would make n1 send all of it again.  n1 sends heartbeats each third of a
    second from its election on, which is five ways after the transfer; they are kept clear of.
    """
    t, tag = begin_s, f"{begin_s:g}"
    late = t + 0.93
    return (
        _transfer(t - 2.0, "n1"),
        _cut(t, f"n1-n2-{tag}", "n1-n2"),
        _at(late, "start-reordering", f"late-{tag}", links=[["n1", "n3"]], reorder=1.0),
        _at(late + 0.03, "stop-reordering", f"late-{tag}"),
        _cut(late + 0.24, f"n1-n3-{tag}", "n1-n3"),
        _campaign(t + 2.6, "n3"),
        _heal(t + 4.0, f"n1-n2-{tag}"),
        _heal(t + 4.0, f"n1-n3-{tag}"),
    )


SCHEDULES: Mapping[str, Sequence[ScheduledFault]] = {
    "vote-not-durable": tuple(
        fault for turn in range(4) for fault in _vote_not_durable(3.0 + 12.0 * turn)
    ),
    "commit-old-term": tuple(
        fault for turn in range(4) for fault in _commit_old_term(10.0 + 15.0 * turn)
    ),
    "truncate-on-match": (
        _transfer(7.0, "n3"),
        *(fault for turn in range(3) for fault in _truncate_on_match(11.0 + 7.0 * turn)),
    ),
}
"""By name, as in ``--faults NAME``."""
