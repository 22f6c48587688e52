"""Reaching the Docker engine, and its errors in one line each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from splitbrain.errors import HostError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["connect", "engine_errors", "reason"]

_USUAL = "unix:///var/run/docker.sock"
_SECONDS = 120


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
    try:
        client = docker.from_env(timeout=_SECONDS)
    except docker.errors.DockerException as error:
        raise HostError(_unreachable(where, error)) from error
    try:
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        client.close()
        raise HostError(_unreachable(where, error)) from error
    return client


def _unreachable(where: str, error: BaseException) -> str:
    if "Permission denied" in str(error):
        return (
            f"may not talk to the Docker engine at {where}: join the group docker "
            "(usermod -aG docker USER, then log in anew), or run as root"
        )
    return (
        f"no Docker engine answers at {where}: start it (systemctl start docker), "
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
