"""The adapter from register operations to the vocabulary ``kv``."""

from __future__ import annotations

from typing import Any

import msgspec

from splitbrain.contracts.workload import Client, Kv, OpenKv
from splitbrain.errors import HarnessError
from splitbrain.history.op import Op

__all__ = ["KvClient"]


class KvClient:
    """read, write, cas, delete on one key: each is one call of a ``Kv`` session."""

    def __init__(self, open_kv: OpenKv, session: Kv | None = None) -> None:
        self._open_kv = open_kv
        self._session = session

    async def open(self, node: str) -> Client:
        """A client with a session of its own."""
        return KvClient(self._open_kv, await self._open_kv(node))

    async def setup(self) -> None:
        """Keys begin absent; nothing to prepare."""

    async def invoke(self, op: Op) -> Op:
        """Do the operation."""
        if self._session is None:
            raise HarnessError("this client was not opened")
        value = await self._do(self._session, op)
        return msgspec.structs.replace(op, type="ok", value=value)

    async def _do(self, session: Kv, op: Op) -> Any:
        key = str(op.key)
        if op.f == "read":
            return await session.get(key)
        if op.f == "write":
            await session.put(key, op.value)
        elif op.f == "cas":
            old, new = op.value
            await session.cas(key, old, new)
        elif op.f == "delete":
            await session.delete(key)
        else:
            raise HarnessError(f"a register has no operation {op.f!r}")
        return op.value

    async def teardown(self) -> None:
        """Leave the data for whoever wants to look."""

    async def close(self) -> None:
        """End the session."""
        if self._session is not None:
            await self._session.close()
