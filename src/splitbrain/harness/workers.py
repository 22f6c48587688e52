"""Workers: long-lived coroutines that carry out one operation after the other.

A worker gets an operation through a future and hands its completion to a callback; no task is made
per operation.  What a client raises becomes the completion's type here, and nowhere else:

    Definite            fail    it certainly did not happen
    anything else       info    nobody knows; the client is closed, and opened anew for the next
    cannot be opened    fail    ``no-client``
    HarnessError        ends the test
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from splitbrain.contracts.nemesis import Nemesis
from splitbrain.contracts.workload import Client
from splitbrain.errors import Definite, HarnessError, Undetermined
from splitbrain.harness.validate import (
    awaited,
    check_client,
    check_client_answer,
    check_nemesis_answer,
)
from splitbrain.history.op import Op

__all__ = ["ClientWorker", "Finished", "NemesisWorker", "Worker", "one_line"]

Finished = Callable[[int, Op], None]
Failed = Callable[[BaseException], None]

NEVER_NS = 1 << 62
_CLOSE_LIMIT_S = 5.0
_REOPEN_PAUSE_S = 0.1


def one_line(exc: BaseException) -> str:
    r"""``ClassName: message`` on one line; the code of an Undetermined comes first by itself.

    >>> one_line(ValueError("two\nlines")), one_line(Undetermined("timeout", "no answer"))
    ('ValueError: two lines', 'timeout: no answer')
    """
    text = " ".join(str(exc).split())
    if isinstance(exc, Undetermined):
        return text
    name = type(exc).__name__
    return f"{name}: {text}" if text else name


def _ended(op: Op, kind: Any, error: str, ext: Any = None) -> Op:
    return Op(
        process=op.process, type=kind, f=op.f, key=op.key, value=op.value,
        node=op.node, error=error, ext=ext,
    )  # fmt: skip


class Worker:
    """The part that clients' and the nemesis's workers share.

    Attributes:
        deadline_ns: when its operation has taken too long; the driver looks at it now and then.
    """

    def __init__(self, thread: int, finished: Finished, failed: Failed) -> None:
        self.thread = thread
        self.deadline_ns = NEVER_NS
        self._finished = finished
        self._failed = failed
        self._inbox: asyncio.Future[Op] = asyncio.get_running_loop().create_future()
        self._op: Op | None = None
        self._overdue: str | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to wait for operations."""
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name=f"worker {self.thread}"
        )

    def give(self, op: Op, deadline_ns: int) -> None:
        """Hand over an operation; only when the one before has been finished."""
        self.deadline_ns = deadline_ns
        self._inbox.set_result(op)

    def expire(self, why: str) -> None:
        """End the operation in hand as info: it has taken too long, or the test is over."""
        if self._task is not None and self._op is not None:
            self._overdue = why
            self._task.cancel()

    async def stop(self) -> None:
        """End the worker; whatever it does is abandoned."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=_CLOSE_LIMIT_S)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                op = self._op = await self._inbox
                self._inbox = loop.create_future()
                answer = self._settled(op, await self._carry_out(op))
                self._op = None
                self.deadline_ns = NEVER_NS
                self._finished(self.thread, answer)
                if answer.type == "info":
                    await self._after_info()
        except Exception as exc:  # noqa: BLE001 - told to the driver, which ends the test
            self._failed(exc)

    async def _carry_out(self, op: Op) -> Op:
        try:
            if op.index < 0:
                await asyncio.sleep(float(op.value))  # the pseudo-operation sleep
                return op
            return await self._answer(op)
        except HarnessError:
            raise
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                # Something inside the client was cancelled, not we: it ended without an answer.
                return _ended(op, "info", one_line(exc))
            if self._overdue is None:
                raise
            task.uncancel()
            why, self._overdue = self._overdue, None
            return _ended(op, "info", why)
        except Exception as exc:  # noqa: BLE001 - whatever it is, nobody knows what happened
            return _ended(op, "info", one_line(exc))

    def _settled(self, op: Op, answer: Op) -> Op:
        """The answer of a client that took our cancellation for something else.

        That it was cut off is no ground to call the operation undone, whatever the client thinks.
        """
        why, self._overdue = self._overdue, None
        task = asyncio.current_task()
        if why is None or task is None:
            return answer
        task.uncancel()
        return answer if answer.type == "ok" else _ended(op, "info", why)

    async def _answer(self, op: Op) -> Op:
        raise NotImplementedError

    async def _after_info(self) -> None:
        """Before the next operation."""


class NemesisWorker(Worker):
    """Carries out the operations of the nemesis, one at a time."""

    def __init__(
        self, thread: int, finished: Finished, failed: Failed, nemesis: Nemesis
    ) -> None:
        super().__init__(thread, finished, failed)
        self._nemesis = nemesis

    async def _answer(self, op: Op) -> Op:
        asked = self._nemesis.invoke(op)
        return check_nemesis_answer(op, await awaited(asked, self._nemesis, "invoke"))


class ClientWorker(Worker):
    """Carries out operations by a client that it opens, and opens anew after each ``info``."""

    def __init__(
        self, thread: int, finished: Finished, failed: Failed, factory: Client, node: str
    ) -> None:
        super().__init__(thread, finished, failed)
        self.node = node
        self.client: Client | None = None
        self._factory = factory

    async def open(self) -> Client:
        """Open the client if there is none."""
        if self.client is None:
            opened = await awaited(self._factory.open(self.node), self._factory, "open")
            self.client = check_client(opened, self._factory, self.node)
        return self.client

    async def close(self) -> None:
        """Close the client if there is one; one that hangs or fails in it is given up."""
        client, self.client = self.client, None
        if client is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_LIMIT_S):
                await client.close()
        except Exception:  # noqa: BLE001, S110 - it is of no further use, open or closed
            pass

    async def _answer(self, op: Op) -> Op:
        client = self.client
        if client is None:
            try:
                client = await self.open()
            except HarnessError:
                raise
            except Exception as exc:  # noqa: BLE001 - any reason: the operation was never sent
                # Without a pause a node that refuses would be asked for ever in no time at all.
                await asyncio.sleep(_REOPEN_PAUSE_S)
                return _ended(op, "fail", f"no-client: {one_line(exc)}")
        try:
            asked = awaited(client.invoke(op), client, "invoke")
            return check_client_answer(op, await asked, client)
        except Definite as exc:
            ext = None
            if exc.observed is not None or exc.code == "cas-mismatch":
                ext = {"observed": exc.observed}
            return _ended(op, "fail", " ".join(str(exc).split()), ext)

    async def _after_info(self) -> None:
        await self.close()
