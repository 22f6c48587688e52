"""What would be done to links, as text: the same rules that agents put in place, and their undo."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from splitbrain.contracts.fault import Cut, Shape
from splitbrain.contracts.testbed import LinkCount
from splitbrain.substrates.agent.rules import State, chains_of, restore_text
from splitbrain.substrates.docker.agents import agent_argv
from splitbrain.substrates.packets.faults import LinkFault, Orders, fold

__all__ = ["DryLinks", "namespace_of"]

Say = Callable[[str], None]


def namespace_of(container: str) -> str:
    """A shell's words for the network namespace of a container.

    >>> namespace_of("n1")
    "/proc/$(docker inspect -f '{{.State.Pid}}' n1)/ns/net"
    """
    return f"/proc/$(docker inspect -f '{{{{.State.Pid}}}}' {container})/ns/net"


class DryLinks:
    """See ``contracts.testbed.Net``: nothing is done, and what would be is said.

    Args:
        say: takes each line.
        containers: their names by node.
        ips: the nodes' addresses.
        gateway: whence clients' packets come.
        up: whether a node runs.
        image: of helper containers; empty: agents run on this machine.
        queue: whether the kernel has a packet queue.
    """

    counts_at_once = False

    def __init__(
        self,
        say: Say,
        containers: Mapping[str, str],
        ips: Mapping[str, str],
        gateway: str,
        up: Callable[[str], bool],
        *,
        image: str,
        queue: bool,
    ) -> None:
        self._say = say
        self._containers = containers
        self._ips = ips
        self._client = dict.fromkeys(ips, gateway)
        self._up = up
        self._image = image
        self._queue = queue
        self._faults: dict[str, LinkFault] = {}
        self._agents: dict[str, State] = {}

    def arrive(self, node: str) -> None:
        """The node has a new namespace: an agent comes into it, and with it what is in force."""
        name = self._containers[node]
        argv = agent_argv(name, 0, image=self._image, marks={})
        words = shlex.join(argv).replace("/proc/0/ns/net", namespace_of(name))
        self._say(f"{words} &")
        self._agents[node] = State()
        self._give(node)

    def leave(self, node: str) -> None:
        """The namespace is gone, and all in it."""
        self._agents.pop(node, None)

    async def cut(self, id: str, links: Cut) -> None:  # noqa: A002
        """Say how links are cut."""
        self._faults[id] = LinkFault(links=tuple(links))
        self._give_all()

    async def shape(self, id: str, links: Cut, shape: Shape) -> None:  # noqa: A002
        """Say how links are shaped."""
        self._faults[id] = LinkFault(links=tuple(links), shape=shape)
        self._give_all()

    async def heal(self, id: str | None = None) -> None:  # noqa: A002
        """Say how that is undone."""
        for one in list(self._faults) if id is None else [id]:
            self._faults.pop(one, None)
        self._give_all()

    async def reach(
        self, links: Cut, *, timeout_s: float = 0.5
    ) -> Mapping[tuple[str, str], bool | None]:
        """As it would be if all that was said were done."""
        cut = {
            it for fault in self._faults.values() if fault.shape is None for it in fault.links
        }
        return {it: it not in cut if self._alive(it) else None for it in links}

    async def counts(self) -> Mapping[tuple[str, str], LinkCount]:
        """Nothing was sent."""
        return dict.fromkeys(itertools.permutations(self._ips, 2), LinkCount())

    async def round_trip_ms(self, a: str, b: str, *, timeout_s: float = 5.0) -> float | None:
        """As if it took no time."""
        return 0.0 if self._alive((a, b)) else None

    def _alive(self, link: tuple[str, str]) -> bool:
        return all(self._up(end) for end in link if end in self._ips)

    def _give_all(self) -> None:
        for node in self._agents:
            self._give(node)

    def _give(self, node: str) -> None:
        orders = fold(self._ips, self._client, self._faults.values())[node]
        old, new = self._agents[node], _state(orders, queue=self._queue)
        if old == new:
            return
        self._agents[node] = new
        shapes = [*orders.shape_from.items(), *orders.shape_to.items()]
        for ip, shape in shapes if self._queue else ():
            self._say(
                f"# {node}: its agent shapes packets of {ip} in queue 5151: {_told(shape)}"
            )
        text = restore_text(chains_of(new), frozenset(chains_of(old)))
        prefix = (
            f"docker exec -i AGENT-OF-{node}"
            if self._image
            else f"nsenter --net={namespace_of(self._containers[node])}"
        )
        self._say(f"{prefix} iptables-restore -w 5 -n <<'END'\n{text}END")


def _state(orders: Orders, *, queue: bool) -> State:
    state = State(cut_from=orders.cut_from, cut_to=orders.cut_to)
    if queue:
        return state._replace(
            queue_from=tuple(sorted(orders.shape_from)), queue_to=tuple(sorted(orders.shape_to))
        )
    return state._replace(
        lose_from=tuple((ip, it.loss) for ip, it in sorted(orders.shape_from.items())),
        lose_to=tuple((ip, it.loss) for ip, it in sorted(orders.shape_to.items())),
    )


def _told(shape: Shape) -> str:
    given: Mapping[str, Any] = {
        name: getattr(shape, name) for name in Shape.__struct_fields__ if getattr(shape, name)
    }
    return ", ".join(f"{name}={value:g}" for name, value in given.items())
