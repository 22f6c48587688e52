"""The testers bite: each seeded bug breaks an invariant or a scene, and its control does not.

Bugs that random runs rarely reach (R01, R04) are directed scenes: ``golden/18`` and ``golden/19``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from splitbrain.cluster.bugs.raft_bugs import (
    RAFT_BUGS,
    AppendNoFsync,
    CommitOldTerm,
    RaftBug,
    VoteNotDurable,
)
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import ASSERTIONS, RaftPanic, Role

from .script import Script
from .storm import LEASE, Storm
from .world import INSIDE, TICK_NS, Broken

OFF: Mapping[str, object] = {"assertions_off": ASSERTIONS}


def outcomes(
    core: type[Raft],
    seeds: range,
    *,
    rounds: int = 200,
    client_view: bool = False,
    options: Mapping[str, object] | None = None,
    **storm_options: object,
) -> Counter[str]:
    """How runs end: ``fine``, the invariant broken, or the assertion that stopped a node."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        storm = Storm(
            seed, size=3 if seed % 2 else 5, core=core, options=options, **storm_options
        )  # type: ignore[arg-type]
        if client_view:
            storm.world.overlook = INSIDE
        try:
            storm.run(rounds)
        except (Broken, RaftPanic) as error:
            seen[error.kind if isinstance(error, Broken) else error.reason] += 1
        else:
            seen["fine"] += 1
        for member in storm.world.members.values():
            seen["probe"] += member.probes + getattr(member.raft, "probe", 0)
    return seen


@pytest.mark.parametrize(
    ("name", "kinds", "count", "least"),
    [
        ("append-no-fsync", {"commit-not-durable"}, 8, 8),
        ("no-conflict-truncate", {"state-machine-safety", "commit-not-durable"}, 16, 2),
        ("truncate-on-match", {"commit-beyond-last", "commit-not-durable"}, 8, 4),
        ("quorum-off-by-one", {"commit-not-durable"}, 8, 8),
        ("ack-on-append", {"lost-write"}, 40, 3),
        ("read-index-before-noop", {"stale-read"}, 40, 3),
    ],
)
def test_storms_find(name: str, kinds: set[str], count: int, least: int) -> None:
    seeds = range(count)
    seen = outcomes(RAFT_BUGS[name], seeds)
    assert sum(seen[kind] for kind in kinds) >= least, seen
    assert seen["probe"] > 0
    control = outcomes(Raft, seeds)
    assert control["fine"] == len(seeds), control


def test_storms_find_local_leader_reads() -> None:
    seen = outcomes(RAFT_BUGS["local-leader-read"], range(40), rounds=250)
    assert seen["stale-read"] >= 1, seen


@pytest.mark.parametrize("core", RAFT_BUGS.values(), ids=lambda core: core.id)
def test_quiet_without_faults(core: type[RaftBug]) -> None:
    """In peace nothing shows, although the changed path mostly runs."""
    seeds = range(6)
    seen = outcomes(core, seeds, calm=True, rounds=120)
    inside = {"commit-not-durable"}  # seen only by who looks at all disks at once
    assert seen["fine"] + sum(seen[kind] for kind in inside) == len(seeds), seen
    client = outcomes(core, seeds, calm=True, rounds=120, client_view=True, options=OFF)
    assert client["fine"] == len(seeds), client
    needs_faults = {"R04", "R07", "R08"}
    if core.id not in needs_faults:
        assert client["probe"] > 0


def test_append_no_fsync_is_hidden_by_kills() -> None:
    seeds = range(16)
    kill = outcomes(AppendNoFsync, seeds, client_view=True, power=False)
    assert kill["fine"] == len(seeds), kill
    assert kill["probe"] > 0


# -- directed --------------------------------------------------------------------------------------


def play(text: str) -> tuple[Script, list[str]]:
    script = Script()
    told: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        told += script.run(line)
    return script, told


R03 = """
    nodes a b c {options}
    campaign a
    stabilize silently
    cut a c
    cut b c
    propose a x
    stabilize silently a b
    {fault} b
    start b
    heal
    cut a b
    cut a c
    tick b 10
    tick c 10
    campaign c
    stabilize silently b c
    campaign b
    stabilize silently b c
"""


@pytest.mark.parametrize("fault", ["power", "kill"])
@pytest.mark.parametrize("bug", ["bug:b=append-no-fsync", ""])
def test_append_no_fsync_loses_a_write_by_power_and_not_by_kill(bug: str, fault: str) -> None:
    script, told = play(R03.format(options=bug, fault=fault))
    lost = b"x" not in [data for _, _, data in script.member("b").state]
    assert lost == (bug != "" and fault == "power")
    assert lost == any("BROKEN leader-completeness" in line for line in told)
    # The old leader, which told its client, is stopped by its own assertion when it comes back.
    script.run("heal")
    script.run(f"tick {script.world.leader().name} 9")  # type: ignore[union-attr]
    assert script.run("stabilize")[-1].startswith("PANIC conflict-below-commit") == lost


R01 = """
    nodes a b c pre_vote=0 {bug}
    cut a b
    campaign a
    ready a
    persist a
    deliver a->c
    ready c
    {early}
    deliver c->a
    power c
    start c
    cut a c
    drop a->
    campaign b
    ready b
    persist b
    deliver b->c
    ready c
    persist c
    deliver c->b
"""


def test_vote_not_durable_gives_two_leaders_of_one_term() -> None:
    script, _ = play(R01.format(bug="bug:c=vote-not-durable", early=""))
    a, b = (script.member(name).raft for name in "ab")
    assert (a.role, b.role, a.term) == (Role.LEADER, Role.LEADER, b.term)
    voter = script.member("c")
    assert isinstance(voter.raft, VoteNotDurable)
    assert voter.probes + voter.raft.probe == 2
    # The control: the grant has not left when the power goes, or else the vote is remembered.
    for early in ("", "persist c"):
        script, _ = play(R01.format(bug="", early=early))
        a, b = (script.member(name).raft for name in "ab")
        assert [a.role, b.role].count(Role.LEADER) == 1


def test_commit_old_term_loses_what_was_committed() -> None:
    path = __file__.replace("test_bugs.py", "golden/19_bug_commit_old_term.txt")
    with open(path) as file:
        commands = [
            block.strip().split("\n----\n")[0].split("\n")[-1]
            for block in file.read().split("\n\n")
        ]
    nodes = commands[0]
    assert nodes.startswith("nodes a b c bug:a=commit-old-term")
    script, told = play("\n".join(commands))
    assert any("leader-completeness" in line for line in told)
    assert told[-1].startswith("PANIC conflict-below-commit")
    assert isinstance(script.member("a").raft, CommitOldTerm)
    assert script.member("a").raft.probe == 1
    # With assertions off a client is lied to; without the bug all is well.
    commands[0] = nodes + " assertions_off=conflict-below-commit"
    script, told = play("\n".join(commands))
    assert script.member("a").state != script.member("b").state
    commands[0] = nodes.replace(" bug:a=commit-old-term", "")
    script, told = play("\n".join(commands))
    assert not [line for line in told if "BROKEN" in line or "PANIC" in line]


class LeaseFromReceipt(Raft):
    """R14: the lease counts from the answer, not from the send."""

    __slots__ = ()

    def _renew_lease(self, confirmed: int) -> None:
        late = [(number, self._now) for number, _ in self._round_sent]
        self._round_sent.clear()
        self._round_sent.extend(late)
        super()._renew_lease(confirmed)


SLOW_ANSWER = """
    tick all 10
    campaign a
    stabilize silently
    propose a x
    stabilize silently
    read a r1
    ready a
    deliver a->b heartbeat
    ready b
    drop a->c
    cut a c
    cut a b
    tick all 8
    deliver b->a heartbeat_reply
    tick all 2
    campaign b
    stabilize silently b c
    propose b y
    stabilize silently b c
    lease a
"""


def lease_scene(core: type[Raft], text: str) -> list[str]:
    script = Script()
    script.run("nodes a b c heartbeat_ticks=9 lease_reads=1 lease_ns=600 tick_ns=100")
    for member in script.world.members.values():
        member.core = core
        member.start()
    told: list[str] = []
    for line in text.strip().splitlines():
        told = script.run(line.strip())
    return told


def test_a_lease_counted_from_the_answer_is_stale() -> None:
    assert lease_scene(Raft, SLOW_ANSWER) == ["not valid"]
    told = lease_scene(LeaseFromReceipt, SLOW_ANSWER)
    assert told[0].startswith("BROKEN stale-read")


def test_a_leader_whose_clock_runs_slow_beyond_the_bound_reads_stale() -> None:
    """Its lease of 6 ticks lasts 12 of the others', who elect another after 10."""
    script = Script()
    script.run("nodes a b c heartbeat_ticks=9 lease_reads=1 lease_ns=600 tick_ns=100")
    script.world.rates["a"] = 0.5
    text = """
        tick all 10
        campaign a
        stabilize silently
        tick all 10
        read a r1
        stabilize silently
        cut a b
        cut a c
        tick b 10
        tick c 10
        campaign b
        stabilize silently b c
        propose b y
        stabilize silently b c
    """
    # Each "tick b, tick c" moves the world's clock: 20 rounds are 10 of a's ticks.
    for line in text.strip().splitlines():
        if line.strip() in ("tick b 10", "tick c 10"):
            for _ in range(10):
                script.world.round += line.strip() == "tick b 10"
                script.member(line.split()[1]).raft.tick(script.world.round * TICK_NS)
        else:
            script.run(line.strip())
    assert script.run("lease a")[0].startswith("BROKEN stale-read")


def test_lease_reads_survive_drift_within_the_bound() -> None:
    seen = outcomes(Raft, range(10), options=LEASE, drift=0.15)
    assert seen["fine"] == 10, seen


def test_every_bug_tells_its_story() -> None:
    assert len({bug.id for bug in RAFT_BUGS.values()}) == len(RAFT_BUGS)
    for name, bug in RAFT_BUGS.items():
        assert bug.name == name
        assert bug.__doc__ is not None
        assert bug.__doc__.startswith(bug.id + ": ")
        assert "Probe: " in bug.__doc__
        assert bug.anomalies
        assert bug.crash <= ASSERTIONS
        assert bool(bug.crash) == ("node-crash" in bug.anomalies)
