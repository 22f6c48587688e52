"""One host taken for one run: its directory there, its warden and its agent."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import ipaddress
import tarfile
from collections.abc import Callable
from typing import Any

import msgspec

from splitbrain.contracts.journal import Journal
from splitbrain.errors import HostError
from splitbrain.substrates.packets.client import Agent
from splitbrain.substrates.ssh.access import Access, Facts
from splitbrain.substrates.ssh.connection import Connection, login_of
from splitbrain.substrates.ssh.hosts import Entry
from splitbrain.substrates.ssh.install import Installer
from splitbrain.substrates.ssh.shell import Shells
from splitbrain.substrates.ssh.warden import Warden, append

__all__ = ["Place"]

_COMMANDS = 3
_AGENT_END_S = 3.0


class Place:
    """One host of a run; made by :meth:`open`, given back by :meth:`close`.

    Attributes:
        shells: for our own short commands.
        commands: for commands of systems and users, which may hang.
        agent: None where we are not root.
    """

    def __init__(
        self, entry: Entry, access: Access, installer: Installer, label: str, journal: Journal
    ) -> None:
        self.entry = entry
        self.access = access
        self.shells = access.shells
        self.commands = Shells(access.connection, _COMMANDS)
        self._warden: Warden | None = None
        self.agent: Agent | None = None
        self._installer = installer
        self._label = label
        self._journal = journal
        self._acts: set[int] = set()
        self.directory = ""
        self.python = ""

    @classmethod
    async def open(
        cls, entry: Entry, *, installer: Installer, label: str, journal: Journal, below: str
    ) -> Place:
        """Connect; nothing of the run is made there yet.

        Args:
            entry: the host.
            installer: of the run.
            label: the run's mark.
            journal: where acts on the host are written first.
            below: directory there for the run's; empty for one in ``/tmp``.

        Raises:
            HostError: it cannot be reached, or lacks what we need.
        """
        access = await Access.open(login_of(entry), python=entry.python, sudo=entry.sudo)
        place = cls(entry, access, installer, label, journal)
        mark = hashlib.sha256(label.encode()).hexdigest()[:16]
        place.directory = f"{below.rstrip('/') or access.lock}/{mark}"
        place.python = await installer.python(access.facts)
        return place

    @property
    def connection(self) -> Connection:
        """The connection."""
        return self.access.connection

    @property
    def warden(self) -> Warden:
        """What launches and tells there; only once the host is taken."""
        assert self._warden is not None
        return self._warden

    @property
    def facts(self) -> Facts:
        """What the host says of itself."""
        return self.access.facts

    @property
    def address(self) -> str:
        """The IPv4 address at which others reach the host's node; empty if it has none."""
        for address in (self.entry.address, self.connection.peer, self.facts.address):
            with contextlib.suppress(ValueError):
                return str(ipaddress.IPv4Address(address))
        return ""

    async def take(self, *, log: str, events: str, ended: Callable[[int, int], None]) -> None:
        """Claim the host, make the run's directory there, start the warden and the agent.

        Raises:
            HostError: another run has it, or something cannot be started.
        """
        self.intend("use-host", self.entry.name, undo="clear-host")
        command = await self.access.command(
            "warden",
            ("serve", self.directory, self._label, self.access.lock),
            label=self._label,
        )
        wire = await self.connection.session(f"exec {command}")
        self._warden = Warden(self.entry.place, wire, log=log, events=events, ended=ended)
        await self._warden.ready()

    async def start_agent(self, log: str) -> None:
        """Start the agent of the host's links, where we are root there."""
        if self.facts.sudo is None:
            return
        command = await self.access.command("agent", label=self._label, root=True)
        wire = await self.connection.session(f"exec {command}")

        async def close() -> None:
            wire.write_end()
            await wire.ended(_AGENT_END_S)
            complaints = await wire.errors.read(1 << 20)
            await asyncio.to_thread(append, log, complaints)
            await wire.close()

        name = f"agent of {self.entry.name}"
        self.agent = Agent(name, wire.reader, wire.write, close)
        try:
            await self.agent.ask("hello")
        except OSError as error:
            await self.agent.close()
            raise HostError(f"host {self.entry.place}: {error}; see {log}") from error

    async def install(self) -> None:
        """Let splitbrain be there for the host's node."""
        await self._installer.install(self.access)

    def intend(self, act: str, target: str, **fields: Any) -> int:
        """Write an act on this host into the journal, with all that it takes to undo it."""
        number = self._journal.intent(
            act,
            target=target,
            label=self._label,
            host=self.entry.place,
            login=msgspec.to_builtins(self.connection.login),
            python=self.entry.python,
            sudo=self.entry.sudo,
            directory=self.directory,
            **fields,
        )
        self._acts.add(number)
        return number

    def undone(self, number: int) -> None:
        """Nothing of that act is left."""
        if number in self._acts:
            self._acts.discard(number)
            self._journal.undone(number)

    async def fetch_data(self, to: str) -> None:
        """Copy what the node keeps to a directory of this machine."""
        archive = f"{self.directory}/data.tar"
        said = await self.shells.run(
            f"cd {self.directory}/data && tar -cf {archive} .", timeout_s=300.0
        )
        if said.code:
            raise HostError(
                f"host {self.entry.place}: {said.err.decode(errors='replace').strip()}"
            )
        packed = io.BytesIO(await self.connection.get(archive))
        with tarfile.open(fileobj=packed) as files:
            files.extractall(to, filter="data")

    async def clear(self) -> None:
        """End all that is the run's on the host, and remove its directory; once the run is over.

        Raises:
            HostError: something is left; the journal then keeps its acts.
        """
        if self.agent is not None:
            await self.agent.close()
        if self._warden is not None:
            await self._warden.close()
        if not self._acts:
            return  # never taken
        swept = await self.access.sweep(self.directory, self._label)
        if swept.left:
            raise HostError(f"host {self.entry.place}: left there: {'; '.join(swept.left)}")
        for number in tuple(self._acts):
            self.undone(number)

    async def close(self) -> None:
        """Close the connection."""
        await self.commands.close()
        await self.access.close()
