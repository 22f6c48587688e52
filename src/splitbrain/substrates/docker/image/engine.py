"""Reaching the Docker engine, and its errors in one line each."""

from __future__ import annotations

import contextlib
import gc
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from splitbrain.errors import HostError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["connect", "engine_errors", "reason"]

_USUAL = "unix:///var/run/docker.sock"
_SECONDS = 120
_FIRST_SECONDS = 15
"""For the first answer: an engine that hangs is no better than none."""


def connect() -> DockerClient:
    """A client of the engine that the environment names; the caller closes it.

    Raises:
        HostError: no engine answers, or it may not be talked to, and how to mend that.
    """
    try:
        import docker
    except ImportError:
        raise HostError(
            "the Python package docker is missing: pip install 'splitbrain[docker]'"
        ) from None
    where = os.environ.get("DOCKER_HOST") or _USUAL
    with warnings.catch_warnings():
        # Where it fails to connect, the package forgets to close its socket.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            client = docker.from_env(timeout=_FIRST_SECONDS)  # asks for the version of its API
            client.api.timeout = _SECONDS
        except Exception as error:  # noqa: BLE001 - over ssh:// each layer has errors of its own
            problem = _unreachable(where, error)
        else:
            return client
        gc.collect()
    raise HostError(problem)


def _unreachable(where: str, error: BaseException) -> str:
    if "Permission denied" in str(error):
        return (
            f"may not talk to the Docker engine at {where}: join the group docker "
            "(usermod -aG docker USER, then log in anew), or run as root"
        )
    usual = ("No such file", "Connection refused")
    why = "" if any(word in str(error) for word in usual) else f" ({reason(error)})"
    return (
        f"no Docker engine answers at {where}{why}: start it (systemctl start docker), "
        "or set DOCKER_HOST to where one runs"
    )


@contextlib.contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turn what the engine or the way to it refuses into one line that begins with ``doing``.

    Raises:
        HostError: in place of every error of the docker package.
    """
    import requests

    import docker

    try:
        yield
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise HostError(f"{doing}: {reason(error)}") from error


def reason(error: Any) -> str:
    """The engine's own words, on one line."""
    told = getattr(error, "explanation", None) or str(error)
    if isinstance(told, bytes):
        told = told.decode(errors="replace")
    return " ".join(str(told).split())
