"""Clearing the hosts of a run that died, by what its journal says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from splitbrain.errors import HostError
from splitbrain.substrates.ssh.access import Access, Swept
from splitbrain.substrates.ssh.connection import Login

__all__ = ["clear_hosts"]


class _Used(msgspec.Struct, frozen=True):
    """The part of an act that tells where it happened."""

    host: str
    login: Login
    python: str
    sudo: bool | None
    directory: str


def clear_hosts(
    label: str, acts: Iterable[Mapping[str, Any]]
) -> tuple[Mapping[str, Swept], tuple[str, ...]]:
    """End the run's processes on its hosts, remove its directories and rules there.

    Args:
        label: the run's mark.
        acts: the fields of its acts on hosts that were not undone.

    Returns:
        What was done by host, and one line for each thing that is left.
    """
    try:
        hosts = {used.host: used for used in (msgspec.convert(act, _Used) for act in acts)}
    except msgspec.ValidationError as error:
        return {}, (f"hosts of run {label}: its journal cannot be read: {error}",)
    return asyncio.run(_clear_all(label, list(hosts.values())))


async def _clear_all(
    label: str, hosts: list[_Used]
) -> tuple[Mapping[str, Swept], tuple[str, ...]]:
    done: dict[str, Swept] = {}
    left: list[str] = []
    swept = await asyncio.gather(
        *(_clear(label, used) for used in hosts), return_exceptions=True
    )
    for used, one in zip(hosts, swept, strict=True):
        if isinstance(one, Swept):
            done[used.host] = one
            left += [f"host {used.host}, run {label}: {what}" for what in one.left]
        elif isinstance(one, HostError | TimeoutError):
            why = str(one) or f"host {used.host} does not answer"
            left.append(f"{why} (run {label})")
        else:
            raise one
    return done, tuple(left)


async def _clear(label: str, used: _Used) -> Swept:
    access = await Access.open(used.login, python=used.python, sudo=used.sudo)
    try:
        return await access.sweep(used.directory, label)
    finally:
        await access.close()
