"""Removing all that a run made in an engine, by its label alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import docker.errors
import requests.exceptions

import docker
from splitbrain.substrates.docker.image.engine import reason
from splitbrain.substrates.docker.names import RUN

__all__ = ["remove_labelled"]


def remove_labelled(label: str, url: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove the containers, networks and volumes that carry the label, running or not.

    Args:
        label: the run's mark.
        url: the engine's address as the journal has it; empty: the usual one.

    Returns:
        What was removed, and what could not be: each in a few words.
    """
    removed: list[str] = []
    left: list[str] = []
    try:
        environment = {**os.environ, "DOCKER_HOST": url} if url else dict(os.environ)
        client = docker.DockerClient.from_env(environment=environment).api
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        return (), (f"Docker objects of run {label}: no engine answers: {reason(error)}",)
    marked = {"label": f"{RUN}={label}"}

    def remove(kind: str, name: str, how: Callable[[], Any]) -> None:
        try:
            how()
            removed.append(f"{kind} {name}")
        except docker.errors.NotFound:
            return
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            left.append(f"{kind} {name} of run {label}: {reason(error)}")

    try:
        for one in client.containers(all=True, filters=marked):
            remove(
                "container",
                one["Names"][0].lstrip("/"),
                partial(client.remove_container, one["Id"], force=True, v=True),
            )
        for one in client.networks(filters=marked):
            remove("network", one["Name"], partial(client.remove_network, one["Id"]))
        for one in client.volumes(filters=marked)["Volumes"] or ():
            remove(
                "volume",
                one["Name"],
                partial(client.remove_volume, one["Name"], force=True),
            )
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        left.append(f"Docker objects of run {label}: {reason(error)}")
    finally:
        client.close()
    return tuple(removed), tuple(left)
