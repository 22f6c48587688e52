"""The engine: calls without blocking the event loop, errors as one line, and its news.

The SDK blocks, so each call runs in a thread.  What happens to the run's containers is told by the
engine's own stream of events, so a node that ends by itself is noticed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import docker.errors
import requests.exceptions

import docker
from splitbrain.errors import HostError
from splitbrain.substrates.docker.image.engine import reason

__all__ = ["Engine", "News"]

T = TypeVar("T")

ANSWER_S = 60
"""How long an engine may take for one thing; busy machines are slow."""
IMPATIENT_S = 3
"""The same once it has been silent: the end of a run must not wait for each thing anew."""

_AGAIN_S = 0.2


class Engine:
    """Calls of the low-level API; see the SDK for their arguments.

    Example::

        engine = Engine(connect())
        state = (await engine.call("inspect_container", name))["State"]
    """

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client
        self.client.api.timeout = ANSWER_S
        self.url = os.environ.get("DOCKER_HOST", "")

    async def call(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """One call.

        Raises:
            FileNotFoundError: what it is about is not there.
            HostError: the engine refuses, or does not answer.
        """
        return await _finished(asyncio.to_thread(self.call_now, method, *args, **kwargs))

    def call_now(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """The same, where waiting is no harm."""
        return self._told(method, getattr(self.client.api, method), args, kwargs)

    async def do(self, act: Callable[..., T], /, *args: Any) -> T:
        """``act(api, *args)`` with the low-level client, for what takes more than one call.

        Raises:
            FileNotFoundError, HostError: as ``call``.
        """
        made: T = await _finished(
            asyncio.to_thread(self._told, act.__name__, act, (self.client.api, *args), {})
        )
        return made

    def _told(self, method: str, how: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            made = how(*args, **kwargs)
        except docker.errors.NotFound as error:
            raise FileNotFoundError(reason(error)) from error
        except (requests.exceptions.Timeout, requests.exceptions.ConnectionError) as error:
            self.client.api.timeout = IMPATIENT_S
            raise HostError(
                f"Docker does not answer {method}: {reason(error)}; once it does, "
                "splitbrain heal removes what is left"
            ) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise HostError(f"Docker refuses {method}: {reason(error)}") from error
        self.client.api.timeout = ANSWER_S
        return made

    def close(self) -> None:
        """Give the connections back."""
        self.client.close()


async def _finished(call: Coroutine[Any, Any, T]) -> T:
    """Let the call finish, also when we are cancelled: what it makes must be there to be removed."""
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()  # seen
        raise


class News:
    """The engine's events of some containers, each handed on by the event loop.

    Where the stream breaks off it is taken up again, from the moment of the last event.

    Args:
        which: the engine's filters: ``label`` or ``container``, and a list of their values.
        hear: called with (container id, action, attributes); actions are ``die`` and ``oom``.
    """

    def __init__(
        self,
        engine: Engine,
        which: Mapping[str, Sequence[str]],
        hear: Callable[[str, str, Mapping[str, str]], None],
    ) -> None:
        self._engine = engine
        self._filters = {"type": "container", "event": ["die", "oom"], **which}
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._last_ns = time.time_ns()
        self._closing = False
        self._stream = self._subscribe()
        self._thread = threading.Thread(target=self._read, name="docker-events", daemon=True)
        self._thread.start()

    def _subscribe(self) -> Any:
        since = self._last_ns // 1_000_000_000
        return self._engine.call_now("events", decode=True, since=since, filters=self._filters)

    def _read(self) -> None:
        while not self._closing and not self._loop.is_closed():
            with contextlib.suppress(Exception):  # closing the stream is how the reading ends
                for event in self._stream:
                    self._tell(event)
            if not self._closing:
                time.sleep(_AGAIN_S)
                with contextlib.suppress(HostError, FileNotFoundError):
                    self._stream = self._subscribe()

    def _tell(self, event: Mapping[str, Any]) -> None:
        """Hand it on, unless it was told before the stream broke off."""
        at_ns = int(event["timeNano"])  # an error in place of events has none
        if at_ns <= self._last_ns:
            return
        self._last_ns = at_ns
        actor = event["Actor"]
        self._loop.call_soon_threadsafe(
            self._hear, str(actor["ID"]), str(event["Action"]), dict(actor["Attributes"])
        )

    async def close(self) -> None:
        """Stop listening."""
        self._closing = True
        with contextlib.suppress(Exception):
            self._stream.close()
        await asyncio.to_thread(self._thread.join, 2.0)
