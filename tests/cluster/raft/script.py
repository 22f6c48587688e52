"""A small language for scenes with Raft cores, and how their lines are told.

nodes a b c election_ticks=10    a cluster, with RaftConfig options; bug:b=NAME gives b that bug
tick a 3 | tick all 3            ticks; the clock advances with them
campaign a                       as if a's election timer had run out
propose a x                      x is the entry's data
conf a add_voter d
read a r1 | lease a              ReadIndex with context r1 | is the lease valid?
transfer a b                     a is asked to hand over to b
ready a | persist a [n] | apply a  a's shell; ``ready`` writes, ``persist`` makes (n) durable
deliver [a->b] [kind]            first message on the wire that matches; ``deliver all``
drop [a->b] [kind]               lose all that match
double a->b [kind]               put a copy of the first that matches at the end
wire                             what is on the wire
cut a b | cut a->b | heal        what is sent over a cut link is lost
kill a | power a | start a       power: what is not fsynced is lost
compact a 2                      snapshot, keep two entries
status a | log a | state a
stabilize [a b ...]              run shells and wire until nothing happens; ``stabilize silently``
join d a b c                     a new node d that is told of members a b c and itself
"""

from __future__ import annotations

from collections.abc import Callable

from splitbrain.cluster.bugs.raft_bugs import RAFT_BUGS
from splitbrain.cluster.raft.types import (
    ConfChange,
    ConfChangeKind,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    RaftConfig,
    RaftPanic,
    Ready,
)

from .world import TICK_NS, Member, World


def show_entry(entry: Entry) -> str:
    what = entry.data.decode() if entry.kind is EntryKind.NORMAL else entry.kind.name.lower()
    return f"{entry.index}/{entry.term} {what}"


def show_entries(entries: tuple[Entry, ...]) -> str:
    return "[" + ", ".join(map(show_entry, entries)) + "]"


def show_message(message: Message) -> str:
    kind = message.kind
    parts = [f"{message.sender}->{message.to}", kind.name.lower(), f"term={message.term}"]
    if kind in (MessageKind.VOTE, MessageKind.PRE_VOTE, MessageKind.APPEND):
        parts.append(f"log={message.log_index}/{message.log_term}")
    elif kind in (MessageKind.HEARTBEAT, MessageKind.HEARTBEAT_REPLY):
        parts.append(f"round={message.log_index}")
    elif kind is MessageKind.APPEND_REPLY:
        parts.append(f"index={message.log_index}")
    if kind in (MessageKind.APPEND, MessageKind.HEARTBEAT):
        parts.append(f"commit={message.commit}")
    if message.entries:
        parts.append(show_entries(message.entries))
    if message.reject:
        parts.append("no")
    if message.hint_index or message.hint_term:
        parts.append(f"hint={message.hint_index}/{message.hint_term}")
    if message.snapshot is not None:
        meta = message.snapshot.meta
        parts.append(f"snapshot={meta.index}/{meta.term} of {','.join(meta.voters)}")
    if message.transfer:
        parts.append("transfer")
    return " ".join(parts)


def show_ready(name: str, ready: Ready) -> list[str]:
    lines = [f"{name} ready {ready.number}"]
    if ready.soft_state is not None:
        leader = ready.soft_state.leader or "nobody"
        lines.append(f"  {ready.soft_state.role.value}, leader {leader}")
    write = []
    if ready.snapshot is not None:
        write.append(f"snapshot {ready.snapshot.meta.index}/{ready.snapshot.meta.term}")
    if ready.entries:
        write.append(show_entries(ready.entries))
    if ready.hard_state is not None:
        hard = ready.hard_state
        write.append(f"term={hard.term} vote={hard.vote or '-'} commit={hard.commit}")
    if write:
        lines.append(f"  write {' '.join(write)}{', sync' if ready.must_sync else ''}")
    lines += [f"  send {show_message(message)}" for message in ready.messages]
    lines += [f"  after {show_message(message)}" for message in ready.after_persist]
    if ready.committed:
        lines.append(f"  apply {show_entries(ready.committed)}")
    lines += [f"  read {read.context.decode()} at {read.index}" for read in ready.read_states]
    lines += [f"  fail {context.decode()}" for context in ready.dropped_reads]
    return lines


class Scene(World):
    """A world that goes on after an invariant is broken, and says so."""

    told: list[str]

    def broken(self, kind: str, detail: str) -> None:
        self.told.append(f"BROKEN {kind}: {detail}")


class Script:
    """Runs commands; each gives the lines to be compared."""

    def __init__(self) -> None:
        self.world = Scene(())
        self.cuts: set[tuple[str, str]] = set()
        self.out: list[str] = []

    def run(self, line: str) -> list[str]:
        self.out = self.world.told = []
        verb, *arguments = line.split()
        command: Callable[..., None] = getattr(self, "do_" + verb)
        try:
            command(*arguments)
        except RaftPanic as panic:
            self.out.append(f"PANIC {panic}")
        return self.out or ["ok"]

    def member(self, name: str) -> Member:
        return self.world.members[name]

    def wire(self, message: Message) -> None:
        if (message.sender, message.to) in self.cuts:
            self.out.append(f"  lost {show_message(message)}")
        else:
            self.world.wire.append(message)

    # -- commands --------------------------------------------------------------------------------

    def do_nodes(self, *words: str) -> None:
        names = tuple(word for word in words if "=" not in word)
        self.cuts.clear()
        options: dict[str, object] = {
            "election_ticks": 10,
            "heartbeat_ticks": 3,
            "election_timeout_ticks": 15,
        }
        cores = {}
        for word in words[len(names) :]:
            key, value = word.split("=")
            if key.startswith("bug:"):
                cores[key[4:]] = RAFT_BUGS[value]
            elif key == "assertions_off":
                options[key] = frozenset(value.split(","))
            else:
                options[key] = int(value)
        self.world = Scene(names, seed=1, options=options, cores=cores, send=self.wire)

    def do_join(self, name: str, *others: str) -> None:
        config = next(iter(self.world.members.values())).config
        config = RaftConfig(
            node=name,
            voters=others,
            election_ticks=config.election_ticks,
            heartbeat_ticks=config.heartbeat_ticks,
        )
        core = type(next(iter(self.world.members.values())).raft)
        self.world.members[name] = Member(self.world, name, config, core)

    def do_tick(self, who: str, count: str = "1") -> None:
        names = list(self.world.members) if who == "all" else [who]
        for _ in range(int(count)):
            self.world.round += 1
            for name in names:
                if self.member(name).up:
                    self.member(name).raft.tick(self.world.round * TICK_NS)

    def do_campaign(self, name: str) -> None:
        if not self.member(name).raft.campaign():
            self.out.append("refused")

    def do_propose(self, name: str, data: str) -> None:
        place = self.world.propose(self.member(name), data.encode())
        self.out.append("refused" if place is None else f"at {place[0]}/{place[1]}")

    def do_conf(self, name: str, kind: str, node: str) -> None:
        change = ConfChange(ConfChangeKind[kind.upper()], node)
        place = self.member(name).raft.propose_conf(change)
        self.out.append("refused" if place is None else f"at {place[0]}/{place[1]}")

    def do_read(self, name: str, context: str) -> None:
        if not self.world.read(self.member(name), context.encode()):
            self.out.append("refused")

    def do_lease(self, name: str) -> None:
        self.out.append("valid" if self.world.lease_read(self.member(name)) else "not valid")

    def do_transfer(self, name: str, to: str) -> None:
        if not self.member(name).raft.transfer_leader(to):
            self.out.append("refused")

    def do_ready(self, name: str) -> None:
        if not self.member(name).raft.has_ready():
            self.out.append("nothing")
            return
        place = len(self.out)
        ready = self.member(name).take()
        self.out[place:place] = show_ready(name, ready)

    def do_persist(self, name: str, count: str = "99") -> None:
        member = self.member(name)
        numbers = [member.persist().number for _ in range(min(int(count), len(member.open)))]
        self.out.insert(0, f"{name} persisted {' '.join(map(str, numbers)) or 'nothing'}")

    def do_apply(self, name: str) -> None:
        self.member(name).apply()
        self.out.append(f"applied {self.member(name).raft.applied_index}")

    def _matching(self, *words: str) -> list[Message]:
        wanted = []
        for message in self.world.wire:
            link, kind = f"{message.sender}->{message.to}", message.kind.name.lower()
            names = {link, kind, "->" + message.to, message.sender + "->"}
            if all(word in names for word in words if word != "all"):
                wanted.append(message)
        return wanted

    def do_deliver(self, *words: str) -> None:
        found = self._matching(*words)
        for message in found if "all" in words else found[:1]:
            self._deliver(message)
        if not found:
            self.out.append("nothing")

    def _deliver(self, message: Message) -> None:
        place = next(i for i, other in enumerate(self.world.wire) if other is message)
        del self.world.wire[place]
        receiver = self.member(message.to)
        self.out.append(f"{show_message(message)}{'' if receiver.up else '  (down)'}")
        if receiver.up:
            receiver.raft.step(message, receiver.now_ns())

    def do_drop(self, *words: str) -> None:
        for message in self._matching(*words):
            self.world.wire.remove(message)
            self.out.append(f"lost {show_message(message)}")

    def do_double(self, *words: str) -> None:
        self.world.wire.append(self._matching(*words)[0])

    def do_wire(self) -> None:
        self.out += [show_message(message) for message in self.world.wire] or ["empty"]

    def do_cut(self, first: str, second: str = "") -> None:
        if second:
            self.cuts |= {(first, second), (second, first)}
        else:
            a, b = first.split("->")
            self.cuts.add((a, b))

    def do_heal(self) -> None:
        self.cuts.clear()

    def do_kill(self, name: str) -> None:
        self.member(name).stop()

    def do_power(self, name: str) -> None:
        self.member(name).stop(keep=0)

    def do_start(self, name: str) -> None:
        self.member(name).start()

    def do_compact(self, name: str, keep: str) -> None:
        self.member(name).compact(int(keep))
        self.out.append(f"first index {self.member(name).raft.first_index}")

    def do_status(self, name: str) -> None:
        status = self.member(name).raft.status()
        keys = (
            "role",
            "term",
            "vote",
            "leader",
            "first",
            "last",
            "stable",
            "commit",
            "applied",
        )
        self.out.append(" ".join(f"{key}={status[key] or '-'}" for key in keys))
        self.out.append(f"voters={','.join(status['voters'])}")
        for peer, figures in status.get("peers", {}).items():
            self.out.append(f"  {peer} " + " ".join(f"{k}={v}" for k, v in figures.items()))

    def do_log(self, name: str) -> None:
        self.out.append(show_entries(tuple(self.member(name).raft.log.entries)))

    def do_state(self, name: str) -> None:
        self.out.append(
            " ".join(data.decode() for _, _, data in self.member(name).state) or "-"
        )

    def do_stabilize(self, *words: str) -> None:
        silent = "silently" in words
        names = [word for word in words if word != "silently"] or list(self.world.members)
        for _ in range(200):
            if not self._round(names):
                break
        else:
            raise AssertionError("does not stabilize within 200 rounds")
        if silent:
            self.out[:] = [line for line in self.out if line.startswith("BROKEN")]

    def _round(self, names: list[str]) -> bool:
        busy = False
        for member in [self.member(name) for name in names if self.member(name).up]:
            while member.raft.has_ready() or member.open or member.to_apply:
                busy = True
                if member.raft.has_ready():
                    self.do_ready(member.name)
                while member.open:
                    member.persist()
                member.apply()
        for message in [m for m in self.world.wire if m.to in names]:
            busy = True
            self._deliver(message)
        return busy
