"""The testbed of ``ssh``: a host a node, taken all at the same time, given back in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from splitbrain.contracts.testbed import Site
from splitbrain.errors import HostError
from splitbrain.substrates.packets.net import PacketNet
from splitbrain.substrates.real.host import Paths
from splitbrain.substrates.real.places import Places
from splitbrain.substrates.real.testbed import RealTestbed
from splitbrain.substrates.ssh.install import Installer
from splitbrain.substrates.ssh.node import RemoteHost, SshNode
from splitbrain.substrates.ssh.options import Options
from splitbrain.substrates.ssh.place import Place

__all__ = ["SshTestbed", "open_testbed"]


class SshTestbed(RealTestbed[SshNode]):
    """See ``contracts.testbed.Testbed``; made by :func:`open_testbed`."""

    def __init__(self, site: Site, options: Options) -> None:
        places = Places(site.directory, site.label, site.journal, site.spec.nodes)
        super().__init__(site, places, keep_data=options.keep_data)
        self._options = options
        self._taken: list[Place] = []
        self._net: PacketNet | None = None

    async def open(self) -> None:
        """Take every host, and make the links between them."""
        installer = Installer()
        opened = await asyncio.gather(
            *(
                Place.open(
                    entry,
                    installer=installer,
                    label=self.site.label,
                    journal=self.site.journal,
                    below=self._options.remote_dir,
                )
                for entry in self._options.hosts
            ),
            return_exceptions=True,
        )
        self._taken = [place for place in opened if isinstance(place, Place)]
        _raise_first(opened)
        self._refuse_same_address()
        for place in self._taken:
            self.add(self._make_node(place))
        await self._each(self._take)
        self._net = PacketNet(
            self._nodes,
            client={name: node.host.place.facts.client for name, node in self._nodes.items()},
            random=self.random,
            label=self.site.label,
            journal=self.site.journal,
            lateness=self._one_machine(),
            spare=sorted({place.facts.ssh_port for place in self._taken}),
        )
        await asyncio.gather(
            *(self._net.restored(name) for name, node in self._nodes.items() if node.agent)
        )
        self._tell_clocks()
        self.follow()

    def _refuse_same_address(self) -> None:
        addresses = [place.address for place in self._taken]
        for place in self._taken:
            if place.address and addresses.count(place.address) == 1:
                continue
            what = (
                f"the address {place.address} of another node" if place.address else "no IPv4"
            )
            raise HostError(
                f"host {place.entry.place} has {what}: links are faulted by address; let address=IP in "
                "the hosts file say at which the others reach it"
            )

    def _one_machine(self) -> bool:
        """All are of one boot of one kernel: containers of one machine, say, with one clock."""
        return len({place.facts.boot for place in self._taken}) == 1

    def _make_node(self, place: Place) -> SshNode:
        name = place.entry.name
        paths = Paths(
            address=f"{place.address}:{self._options.port}",
            data_dir=f"{place.directory}/data",
            config_dir=f"{place.directory}/config",
            control_path=f"{place.directory}/control",
            events_path=f"{place.directory}/events",
            python=place.python,
            log=self.places.log(name),
            events=self.places.events(name),
            control_file=self.places.control(name),
        )
        return SshNode(
            RemoteHost(name, place, paths, self.keeper, port=self._options.port), self.keeper
        )

    async def _take(self, node: SshNode) -> None:
        place = node.host.place
        await place.take(
            log=node.host.paths.log, events=node.host.paths.events, ended=node.host.hear_end
        )
        await place.start_agent(self.places.log("agents"))
        await node.host.prepare()

    def _tell_clocks(self) -> None:
        """An event a host: how far its monotonic clock is ahead of ours, for who reads the times."""
        for name, node in self._nodes.items():
            warden = node.host.place.warden
            self.site.events(
                {
                    "kind": "host-clock",
                    "time_ns": self.time_ns(),
                    "node": name,
                    "ahead_ns": warden.ahead_ns,
                    "doubt_ns": warden.doubt_ns,
                }
            )

    @property
    def net(self) -> PacketNet:
        """The links."""
        assert self._net is not None
        return self._net

    def links(self, node: str) -> Mapping[str, str]:
        """For each other node its own address: packets are cut, so no proxy stands between."""
        return {name: other.address for name, other in self._nodes.items() if name != node}

    def client_address(self, node: str) -> str:
        """The node's own address."""
        return self.node(node).address

    def _closing(self) -> Sequence[Callable[[], Awaitable[None]]]:
        return (
            self._kill_all,
            self._heal_net,
            self._keep_all,
            self._end_clocks,
            self._clear_all,
            self._unfollow,
            self._disconnect,
            self._remove,
        )

    async def _each(self, act: Callable[[SshNode], Awaitable[None]]) -> None:
        """On all hosts at the same time; whatever fails on one, the others are done."""
        done = await asyncio.gather(
            *(act(node) for node in self._nodes.values()), return_exceptions=True
        )
        _raise_first(done)

    async def _kill_all(self) -> None:
        await self._each(lambda node: node.kill())

    async def _heal_net(self) -> None:
        if self._net is not None:
            try:
                await self._net.heal(None)  # for the journal: the rules end with the agents
            finally:
                await self._net.close()

    async def _keep_all(self) -> None:
        if self._options.keep_data:
            await self._each(
                lambda node: node.host.place.fetch_data(self.places.data(node.name))
            )

    async def _end_clocks(self) -> None:
        """Once more at the end: what has become of the difference tells how true the times are."""
        if self._following is not None:
            await self._each(lambda node: node.host.place.warden.compare_clocks())
            self._tell_clocks()

    async def _clear_all(self) -> None:
        await self._each(lambda node: node.host.close())
        done = await asyncio.gather(
            *(place.clear() for place in self._taken), return_exceptions=True
        )
        _raise_first(done)

    async def _disconnect(self) -> None:
        await asyncio.gather(*(place.close() for place in self._taken))


def _raise_first(done: Sequence[object]) -> None:
    """What ``gather`` brought back instead of results."""
    for one in done:
        if isinstance(one, BaseException):
            raise one


async def open_testbed(site: Site, options: Options) -> SshTestbed:
    """Make everything but the nodes' processes; on failure nothing is left."""
    testbed = SshTestbed(site, options)
    try:
        await testbed.open()
    except BaseException:
        await testbed.close()
        raise
    return testbed
