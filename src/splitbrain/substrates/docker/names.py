"""What a run calls what it makes in an engine, and which addresses it takes: pure functions."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "NODE",
    "PORT",
    "RUN",
    "address_of",
    "free_subnets",
    "gateway_of",
    "labels",
    "object_name",
    "returncode",
]

RUN = "splitbrain.run"
"""The label of everything that a run makes: its value is the run's own label."""
NODE = "splitbrain.node"
PORT = 20160
"""Where a node listens, each at an address of its own."""

_FIRST = 10
_POOL = ipaddress.IPv4Network("10.128.0.0/9")


def object_name(label: str, *parts: str) -> str:
    """A name that the engine accepts; different for different runs.

    >>> object_name("run:7", "n1")
    'splitbrain-run-7-29a6a7-n1'
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", label)[-40:]
    mark = hashlib.sha256(label.encode()).hexdigest()[:6]
    return "-".join(("splitbrain", plain, mark, *parts))


def labels(label: str, node: str = "") -> Mapping[str, str]:
    """What marks an object as this run's.

    >>> labels("r7", "n1")
    {'splitbrain.run': 'r7', 'splitbrain.node': 'n1'}
    """
    return {RUN: label, **({NODE: node} if node else {})}


def free_subnets(label: str, taken: Iterable[str]) -> Iterator[str]:
    """Subnets of 256 addresses that overlap none of ``taken``, in an order of the run's own.

    Several runs that start at once would all take the first free one.

    >>> next(free_subnets("r7", ["0.0.0.0/0"])) == next(free_subnets("r7", []))
    True
    """
    used = [net for net in map(ipaddress.IPv4Network, taken) if net.prefixlen]
    count = 1 << (24 - _POOL.prefixlen)
    start = int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "big")
    for step in range(count):
        base = int(_POOL.network_address) + (start + step) % count * 256
        subnet = ipaddress.IPv4Network((base, 24))
        if not any(subnet.overlaps(net) for net in used):
            yield str(subnet)


def gateway_of(subnet: str) -> str:
    """The bridge's address, from which our clients' packets come.

    >>> gateway_of("10.130.7.0/24")
    '10.130.7.1'
    """
    return str(ipaddress.IPv4Network(subnet)[1])


def address_of(subnet: str, nodes: Sequence[str], node: str) -> str:
    """The fixed address of a node.

    >>> address_of("10.130.7.0/24", ("n1", "n2"), "n2")
    '10.130.7.11'
    """
    return str(ipaddress.IPv4Network(subnet)[_FIRST + nodes.index(node)])


def returncode(exit_code: int) -> int:
    """An engine's exit code as a child's: more than 128 was a signal.

    >>> returncode(137), returncode(3)
    (-9, 3)
    """
    return 128 - exit_code if 128 < exit_code < 128 + 65 else exit_code
