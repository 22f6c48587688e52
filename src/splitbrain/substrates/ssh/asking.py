"""What hosts can do to their links, asked before a test begins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from splitbrain.contracts.fault import Fault
from splitbrain.errors import HostError
from splitbrain.substrates.packets.abilities import missing_faults
from splitbrain.substrates.ssh.access import Access
from splitbrain.substrates.ssh.connection import login_of
from splitbrain.substrates.ssh.hosts import Entry
from splitbrain.substrates.ssh.options import Options

__all__ = ["abilities"]

_LINKS = (
    Fault.PARTITION,
    Fault.ONE_WAY,
    Fault.CLIENT_LINKS,
    Fault.DELAY,
    Fault.RATE,
    Fault.LOSS,
    Fault.DUPLICATION,
    Fault.REORDERING,
    Fault.CORRUPTION,
)


async def abilities(options: Options) -> Mapping[Fault, str]:
    """The faults that some host cannot do, and what would make them possible.

    Raises:
        HostError: a host cannot be reached.
    """
    told = await asyncio.gather(
        *(_ask(entry) for entry in options.hosts), return_exceptions=True
    )
    missing: dict[Fault, str] = {}
    for one in told:
        if isinstance(one, BaseException):
            raise one
        missing = {**one, **missing}
    return missing


async def _ask(entry: Entry) -> Mapping[Fault, str]:
    access = await Access.open(login_of(entry), python=entry.python, sudo=entry.sudo)
    try:
        if access.facts.sudo is None:
            why = f"host {entry.place}: log in as root, or let sudo -n work there without a password"
            return dict.fromkeys(_LINKS, why)
        await access.refuse_busy()
        command = await access.command("agent", root=True)
        said = await access.shells.run(
            f'printf \'%s\\n\' \'{{"n":1,"verb":"hello"}}\' | {command}', timeout_s=30.0
        )
        try:
            hello = json.loads(said.out.splitlines()[0])["ok"]
        except (ValueError, KeyError, IndexError):
            complaint = said.err.decode(errors="replace").strip().split("\n")[-1]
            raise HostError(
                f"host {entry.place}: the agent of the links cannot run there: {complaint}"
            ) from None
        return {
            fault: f"host {entry.place}: {why}" for fault, why in missing_faults(hello).items()
        }
    finally:
        await access.close()
