"""The options that every run knows, what numbers they take, and a line of words for every name.

Pure data beside ``catalog``, which holds the factories.  To add an option: a line in one of the first
tables, and its range in ``_RANGES`` if it is a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import RequestError, UnknownName, Unsupported
from splitbrain.nemesis.base import LEAST_NODES, ROLES
from splitbrain.nemesis.partition import NEED_FOUR, ONE_WAY, SHAPES
from splitbrain.nemesis.rotation import words_of

__all__ = [
    "CHECKS",
    "DESCRIBED",
    "HARNESS_OPTIONS",
    "NEMESIS_OPTIONS",
    "SUBSTRATE_OPTIONS",
    "WORKLOAD_OPTIONS",
    "check_options",
    "refuse_impossible_words",
    "wants_one_way",
]

CHECKS = ("replicas",)
"""What ``--check`` may add to any workload, where the system offers it."""

HARNESS_OPTIONS: Mapping[str, str] = {
    "scale": "multiplies all protocol times of the system (1/3 by default: election timeout 1 s)",
    "op-timeout": "seconds a client waits for one operation (default 2 T)",
    "ready-seconds": "longest wait until the system serves (default 60)",
    "recovery-seconds": "longest final phase (default 30)",
    "answered-share": "share of operations outside fault bands that must be answered (0.9)",
    "unproven-share": "share of a fault's applications that may lack proof (0.2)",
    "check": f"further checks of the system's own, joined by commas: {', '.join(CHECKS)}",
    "check-seconds": "budget of the checkers (60)",
}

NEMESIS_OPTIONS: Mapping[str, str] = {
    "targets": f"whom faults of nodes hit, by turns, joined by commas: {', '.join(ROLES)}",
    "shapes": f"how partitions cut, by turns, joined by commas: {', '.join(sorted(SHAPES))}",
    "quiet": "seconds from the end of a fault to the start of the next (drawn by default)",
    "follow-leader": "true: replayed faults hit who leads now where they had hit the leader",
}

WORKLOAD_OPTIONS: Mapping[str, str] = {
    "keys": "keys in use at once",
    "read-share": "share of reads (register, kv, set, and those on transactions that read)",
    "values": "number of distinct values (cas-register)",
    "ops-per-key-min": "fewest operations of a key",
    "ops-per-key-max": "most operations of a key",
    "tries": "compare-and-swaps for one change that needs them (kv, set: 10; unique-ids: 20)",
    "linearizable": "set: false lets a read miss an element for a while",
    "promise": "register: linearizable, bounded-staleness or eventual",
    "staleness-bound": "register, bounded-staleness: seconds that a read may lag behind (5)",
    "txn-mode": "transactions: optimistic, pessimistic, or both by turns (optimistic)",
    "isolation": "transactions: snapshot, read-committed or serializable (snapshot)",
    "commit-path": "transactions: 2pc, parallel, async, 1pc or group (the system's choice)",
    "locking-reads": "transactions: false lets pessimistic ones read without locks (true)",
    "txn-length": "append, wr, txn-kv: most micro-operations of a transaction (4)",
    "key-life": "transactions: operations after which the oldest key in use is retired",
    "accounts": "bank: number of accounts (6)",
    "opening": "bank: what each account holds at first (20)",
    "overdraft": "bank: true lets a balance be negative (false)",
    "group-size": "long-fork, snapshot-reads: keys of a group (4)",
    "converge-seconds": "register, not linearizable: seconds until all nodes must agree (2)",
}

SUBSTRATE_OPTIONS: Mapping[str, str] = {
    "keep-data": "local, docker, ssh: keep the nodes' data after the run",
    "proxies": "local: false lets nodes dial each other directly; links cannot be faulted then",
    "clients": "local: cut puts a proxy before each node for our clients too",
    "cut-mode": "local: hold, reset or mixed: what a cut does to connections",
    "port-base": "local: the first node's port, the next node has the next (any that are free)",
    "image": "docker: the image to run the nodes in",
    "memory": "docker: each node's memory, such as 256m",
    "cpus": "docker: each node's cores, such as 0.5",
    "publish": "docker: true lets clients dial published ports of 127.0.0.1",
    "hosts": "ssh: the hosts, as --node and --hosts make it: 'n1=user@host own=yes; n2=...'",
    "remote-dir": "ssh: directory on the hosts for the run's own (default one in /tmp)",
    "port": "ssh: port at which each node listens (20160); docker: where attached containers do",
    "compose": "docker: test the containers of this compose project, as --compose does",
    "containers": "docker: test these containers, joined by commas, as --container does",
    "packets": "docker: host or container: where links' faults are made (host where root)",
}

_MOST = 1_000_000.0
_RANGES: Mapping[str, tuple[type, float, float]] = {
    "scale": (float, 0.001, 1000.0),
    "op-timeout": (float, 0.001, _MOST),
    "ready-seconds": (float, 0.001, _MOST),
    "recovery-seconds": (float, 0.0, _MOST),
    "answered-share": (float, 0.0, 1.0),
    "unproven-share": (float, 0.0, 1.0),
    "check-seconds": (float, 0.0, _MOST),
    "quiet": (float, 0.001, _MOST),
    "port-base": (int, 1024, 65535),
    "keys": (int, 1, _MOST),
    "read-share": (float, 0.0, 1.0),
    "values": (int, 1, _MOST),
    "ops-per-key-min": (int, 1, _MOST),
    "ops-per-key-max": (int, 1, _MOST),
    "tries": (int, 1, _MOST),
    "txn-length": (int, 1, _MOST),
    "key-life": (int, 1, _MOST),
    "accounts": (int, 2, _MOST),
    "opening": (int, 0, _MOST),
    "group-size": (int, 2, _MOST),
    "staleness-bound": (float, 0.0, _MOST),
    "converge-seconds": (float, 0.0, _MOST),
}
"""Options that are numbers: whole or not, and between what."""

_WORDS: Mapping[str, tuple[str, ...]] = {
    "linearizable": ("true", "false"),
    "follow-leader": ("true", "false"),
    "promise": ("linearizable", "bounded-staleness", "eventual"),
    "txn-mode": ("optimistic", "pessimistic", "both"),
    "isolation": ("snapshot", "read-committed", "serializable"),
    "commit-path": ("", "2pc", "parallel", "async", "1pc", "group"),
    "locking-reads": ("true", "false"),
    "overdraft": ("true", "false"),
}
"""Options that are one of a few words."""

_LISTS: Mapping[str, tuple[str, Sequence[str]]] = {
    "check": ("check", CHECKS),
    "targets": ("target", ROLES),
    "shapes": ("partition shape", tuple(SHAPES)),
}
"""Options that are words joined by commas: what a word is, and those that are known."""

DESCRIBED: Mapping[str, Mapping[str, str]] = {
    "workloads": {
        "register": "reads and writes of distinct values on a sliding window of keys",
        "cas-register": "reads, writes and compare-and-swaps over five values",
        "kv": "reads, writes, deletes, compare-and-swaps and appends of single keys",
        "set": "elements are added and must stay; every worker reads all at the end",
        "unique-ids": "ids from shared counters, of which no two may be alike",
        "append": "txn: transactions that read lists and append to them",
        "wr": "txn: transactions that read and write registers",
        "txn-kv": "txn: transactions of gets, scans, puts, inserts, deletes and compares",
        "bank": "txn: transfers between accounts, whose total stays",
        "long-fork": "txn: no two readers see two writes in different orders",
        "monotonic": "txn: counters and timestamps that only grow",
        "write-skew": "txn: pairs of which one must stay on: lawfully broken under snapshots only",
        "snapshot-reads": "txn: groups written together are read alike, twice",
        "versioned": "txn: reads at older timestamps, of versions that may be collected",
        "lock": "txn: locks made of transactions, never held by two",
        "queue": "txn: queues made of transactions, first in, first out",
        "txn-set": "txn: elements inserted as keys of their own must stay; read by scans",
    },
    "systems": {"minitikv": "the bundled Raft key-value cluster, shaped like TiKV"},
    "substrates": {
        "sim": "one process, virtual clock, deterministic by seed",
        "local": "operating-system processes on this machine; no root, no Docker",
        "docker": "containers on this machine; links are faulted packet by packet",
        "ssh": "hosts of your own, reached by SSH; links are faulted packet by packet",
    },
    "models": {
        "register": "one value: read, write",
        "cas-register": "one value: read, write, compare-and-swap",
        "kv": "a value a key: read, write, delete, append, compare-and-swap",
        "set": "elements that are added and stay: add, read",
        "unique-ids": "ids of which no two are alike: generate",
    },
    "nemeses": {
        "partition": "cuts links: halves, the leader alone, bridge, ring, one-way: --option shapes",
        "kill": "SIGKILL; restarted later",
        "power": "kill, and bytes not fsynced are lost",
        "pause": "stopped; goes on later",
        "oom": "the kernel kills it for want of memory; restarted later",
        "cpu": "a node gets little processor time",
        "clock": "jumps, strobes and drift of clocks",
        "network": "delay, loss, duplication, reordering of messages",
        "delay": "messages come late",
        "loss": "messages are lost",
        "duplication": "messages come twice",
        "reordering": "messages overtake each other",
        "transfer": "the leadership of a region goes to another of its peers",
        "shuffle-leaders": "the leaderships of all regions go to others",
        "split": "a region is cut in two, in its middle or at a random key",
        "move-peer": "a region's peer is replaced by one on another store",
        "evict-leader": "a store leads nothing; later it may again",
        "pd-transfer": "the placement driver's leadership goes to another member",
        "compact": "nodes take snapshots of their regions and cut their logs",
        "restart": "rolling: one node after the other is stopped and started again",
    },
    "checkers": {
        "linearizable": "each operation takes effect at one moment between its call and its return",
        "staleness": "how old what reads saw was, against a bound if there is one",
        "convergence": "all nodes agree once faults and writes are over",
        "set": "every element that was added stayed, and was there once",
        "unique-ids": "no id was given twice",
        "timestamps": "each transaction saw and wrote what its timestamps entitle it to",
        "invariants": "white-box: locks, write records and timestamps obey Percolator's rules",
        "bank": "the accounts hold the same together at every read",
        "long-fork": "reads of a group of writes form one order",
        "monotonic": "counters grow with commit timestamps and with real time",
        "write-skew": "of each pair one is on, or the level allows that none is",
        "snapshots": "what is written together is read together",
        "versioned": "what a key held at a timestamp never changes",
        "lock": "no lock was held by two at once",
        "replicas": "all replicas of a region held the same at the end (--check replicas)",
        "queue": "every element came out once, in order, and none was lost",
        "node-crash": "no node ended by itself, no core assertion failed",
        "earned": "the run was a test at all: successes, faults with effect, progress",
        "availability": "how long nothing succeeded, and how soon something did after a heal",
        "unhandled": "errors that no client foresaw, by class",
        "stats": "counts by function and outcome",
    },
}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse (RequestError) a value that is no number of its option's range, or none of its words."""
    for name, value in options.items():
        if name in _LISTS:
            _check_words(name, value)
        word = str(value).lower() if isinstance(value, bool) else value
        if name in _WORDS and word not in _WORDS[name]:
            known = ", ".join(_WORDS[name])
            raise RequestError(f"option {name}={value}: one of {known} is needed")
        if name not in _RANGES:
            continue
        kind, least, most = _RANGES[name]
        number = value if isinstance(value, int | float) else math.nan
        whole = kind is float or isinstance(value, int)
        if isinstance(value, bool) or not whole or not least <= number <= most:
            words = "a whole number" if kind is int else "a number"
            raise RequestError(
                f"option {name}={value}: {words} from {least:.7g} to {most:.7g} is needed"
            )
    fewest, most_ops = options.get("ops-per-key-min", 100), options.get("ops-per-key-max", 200)
    if fewest > most_ops:
        raise RequestError(
            f"options ops-per-key-min={fewest} and ops-per-key-max={most_ops}: the first must not "
            "be larger; set both (defaults 100 and 200)"
        )


def _check_words(name: str, value: Any) -> None:
    kind, known = _LISTS[name]
    words = words_of(value)
    if not words:
        raise RequestError(
            f"option {name}={value}: one or more of {', '.join(known)} are needed"
        )
    for word in words:
        if word not in known:
            raise RequestError(f"option {name}={value}: {UnknownName(kind, word, known)}")


def wants_one_way(spec: TestSpec) -> bool:
    """Whether partitions are asked for, by a shape that cuts one way only."""
    shapes = words_of(spec.options.get("shapes", ""))
    return "partition" in spec.nemesis and not ONE_WAY.isdisjoint(shapes)


def refuse_impossible_words(
    spec: TestSpec, here: frozenset[Fault], missing: Mapping[Fault, str]
) -> None:
    """Refuse (Unsupported) a shape or a target that this testbed cannot have.

    Args:
        spec: of the test; its options are well-formed.
        here: the faults that are possible.
        missing: for the others, what would help.
    """
    least = {**LEAST_NODES, **dict.fromkeys(NEED_FOUR, 4)}
    for name in _LISTS:
        for word in words_of(spec.options.get(name, "")):
            if word in ONE_WAY and Fault.ONE_WAY not in here:
                why = missing.get(Fault.ONE_WAY, "choose a shape that cuts both ways")
                raise Unsupported(
                    f"option {name}={word}: one-way cuts are not possible on {spec.substrate}: {why}"
                )
            if len(spec.nodes) < least.get(word, 1):
                raise Unsupported(
                    f"option {name}={word} needs {least[word]} nodes or more, and this test has "
                    f"{len(spec.nodes)}; raise --nodes or leave {word} out"
                )
