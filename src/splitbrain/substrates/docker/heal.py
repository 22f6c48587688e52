"""Undoing what a run did in an engine: what it made is removed, what it borrowed is given back.

What it made is found by the run's label alone; what it borrowed, by the journal.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import docker.errors
import requests.exceptions

import docker
from splitbrain.substrates.docker.agents import agent_argv, elsewhere
from splitbrain.substrates.docker.image.engine import reason
from splitbrain.substrates.docker.loan import Loan, give_back, loans_of
from splitbrain.substrates.docker.names import RUN, labels
from splitbrain.substrates.journal import Act

__all__ = ["remove_labelled", "return_borrowed"]

_AGENT_S = 30
_FAILURES = (docker.errors.DockerException, requests.exceptions.RequestException)


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
        client = _reach(url)
    except _FAILURES as error:
        return (), (f"Docker objects of run {label}: no engine answers: {reason(error)}",)
    marked = {"label": f"{RUN}={label}"}

    def remove(kind: str, name: str, how: Callable[[], Any]) -> None:
        try:
            how()
            removed.append(f"{kind} {name}")
        except docker.errors.NotFound:
            return
        except _FAILURES as error:
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
    except _FAILURES as error:
        left.append(f"Docker objects of run {label}: {reason(error)}")
    finally:
        client.close()
    return tuple(removed), tuple(left)


def return_borrowed(label: str, acts: Iterable[Act]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Let each container that a run borrowed be what it was, and its links be whole.

    Args:
        label: the run's mark.
        acts: of its journal.

    Returns:
        What was done, and what could not be: each in a few words.
    """
    returned: list[str] = []
    left: list[str] = []
    for url, loans in loans_of(acts).items():
        try:
            client = _reach(url)
        except _FAILURES as error:
            names = ", ".join(loan.name for loan in loans)
            left.append(
                f"containers {names} of run {label}: no engine answers: {reason(error)}"
            )
            continue
        for loan in loans:
            try:
                done = give_back(client, loan)
                problem = _mend_links(client, loan, label)
            except _FAILURES as error:
                done, problem = (), reason(error)
            if done:
                returned.append(f"container {loan.name}: {' and '.join(done)}")
            if problem:
                left.append(f"container {loan.name} of run {label}: {problem}")
        client.close()
    return tuple(returned), tuple(left)


def _mend_links(client: Any, loan: Loan, label: str) -> str:
    """Let a fresh agent remove what a dead one may have left; why it could not."""
    try:
        state = client.inspect_container(loan.container)["State"]
    except docker.errors.NotFound:
        return ""
    if not state["Running"]:
        return ""
    if problem := elsewhere(loan.container, int(state["Pid"])):
        return problem
    argv = agent_argv(loan.container, int(state["Pid"]), image=loan.image, marks=labels(label))
    try:
        done = subprocess.run(
            argv,
            input=b'{"n":1,"verb":"hello"}\n',
            capture_output=True,
            timeout=_AGENT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"its links cannot be looked at: {error}"
    if b'"ok"' in done.stdout:
        return ""
    said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return f"its links cannot be looked at: {said[-1] if said else 'no agent starts there'}"


def _reach(url: str) -> Any:
    """The low-level client of an engine that answers."""
    environment = {**os.environ, "DOCKER_HOST": url} if url else dict(os.environ)
    client = docker.DockerClient.from_env(environment=environment).api
    client.ping()
    return client
