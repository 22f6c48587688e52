"""The engine: calls without blocking the event loop, errors as one line, and its news.

The SDK blocks, so each call runs in a thread.  What happens to the run's containers is told by the
engine's own stream of events, so a node that ends by itself is noticed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import docker.errors
import requests.exceptions

import docker
from splitbrain.errors import HostError
from splitbrain.substrates.docker.image.engine import reason

__all__ = ["Engine", "News"]

T = TypeVar("T")


class Engine:
    """Calls of the low-level API; see the SDK for their arguments.

    Example::

        engine = Engine(connect())
        state = (await engine.call("inspect_container", name))["State"]
    """

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client
        self.url = os.environ.get("DOCKER_HOST", "")

    async def call(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """One call.

        Raises:
            FileNotFoundError: what it is about is not there.
            HostError: the engine refuses, or does not answer.
        """
        return await asyncio.to_thread(self.call_now, method, *args, **kwargs)

    def call_now(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """The same, where waiting is no harm."""
        return self._told(method, getattr(self.client.api, method), args, kwargs)

    async def do(self, act: Callable[..., T], /, *args: Any) -> T:
        """``act(api, *args)`` with the low-level client, for what takes more than one call.

        Raises:
            FileNotFoundError, HostError: as ``call``.
        """
        made: T = await asyncio.to_thread(
            self._told, act.__name__, act, (self.client.api, *args), {}
        )
        return made

    @staticmethod
    def _told(method: str, how: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            return how(*args, **kwargs)
        except docker.errors.NotFound as error:
            raise FileNotFoundError(reason(error)) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise HostError(f"Docker refuses {method}: {reason(error)}") from error

    def close(self) -> None:
        """Give the connections back."""
        self.client.close()


class News:
    """The engine's events of some containers, each handed on by the event loop.

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
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._stream = engine.call_now(
            "events",
            decode=True,
            filters={"type": "container", "event": ["die", "oom"], **which},
        )
        self._thread = threading.Thread(target=self._read, name="docker-events", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(Exception):  # closing the stream is how the reading ends
            for event in self._stream:
                actor = event.get("Actor", {})
                news = (str(actor.get("ID", "")), str(event.get("Action", "")))
                self._loop.call_soon_threadsafe(
                    self._hear, *news, dict(actor.get("Attributes", {}))
                )

    async def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(Exception):
            self._stream.close()
        await asyncio.to_thread(self._thread.join, 2.0)
