"""Workloads, their clients, and the vocabularies by which they speak to systems."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from splitbrain.checkers.verdict import Checker
from splitbrain.contracts.generator import Generator
from splitbrain.history.op import Op

__all__ = ["Client", "Kv", "OpenKv", "Workload"]


class Kv(Protocol):
    """The vocabulary ``kv``: one session of one client with a key-value system.

    Keys are strings, values JSON-able; None means that the key is absent.  Each method raises
    ``Definite`` if the operation certainly did not happen; any other exception means that it may
    have.
    """

    async def get(self, key: str) -> Any:
        """The value, or None."""

    async def put(self, key: str, value: Any) -> None:
        """Set the value."""

    async def delete(self, key: str) -> None:
        """Remove the key."""

    async def cas(self, key: str, old: Any, new: Any) -> None:
        """Set ``new`` if the value is ``old``; else ``Definite("cas-mismatch", observed=...)``."""

    async def close(self) -> None:
        """End the session."""


OpenKv = Callable[[str], Awaitable[Kv]]
"""Opens a session bound (by preference) to the named node."""


class Client(Protocol):
    """One worker's client.  ``open`` gives a client bound to a node; the others act on that one."""

    async def open(self, node: str) -> Client:
        """A fresh client for ``node``; an exception makes the operation fail with ``no-client``."""

    async def setup(self) -> None:
        """Once before the test, by the first client of each node."""

    async def invoke(self, op: Op) -> Op:
        """Do the operation and return its completion (same process, f and key).

        Raises:
            Definite: -> a ``fail`` completion.
            Exception: anything else -> ``info``.
        """

    async def teardown(self) -> None:
        """Once after the test."""

    async def close(self) -> None:
        """Drop the connection."""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What the clients do, and what must hold of it.

    Attributes:
        name: as in ``splitbrain run NAME``.
        vocabulary: ``kv``, ``txn`` or ``log``: what a system must offer to run it.
        generator: the main phase, without rate and time limit, which the harness adds.
        final_generator: operations at the end of the final phase, for instance final reads; it
            learns (``update``) of all client events before its turn.  The main generator goes on
            until each worker has had a success, and then this one is played to its end.
        client: makes the client from a session opener of the vocabulary.
        checkers: by name.
        functions: the ``f`` of client operations: each must succeed once.
        answers: codes of ``Definite`` that are answers, not refusals.
    """

    name: str
    vocabulary: str
    generator: Generator
    final_generator: Generator | None = None
    client: Callable[[Any], Client]
    checkers: Mapping[str, Checker]
    functions: tuple[str, ...]
    answers: frozenset[str] = frozenset()
