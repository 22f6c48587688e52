"""Containers that are there already: which ones are meant, and where they are reached.

Nothing here changes anything.  A node is named by its service where the project has one container of
it, ``SERVICE-NUMBER`` where it has more, and by the container's own name where that was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from docker import DockerClient
from splitbrain.errors import HostError, RequestError, UnknownName
from splitbrain.substrates.docker.image.engine import engine_errors
from splitbrain.substrates.docker.options import Options

__all__ = ["PAUSED", "RUNNING", "STOPPED", "Target", "choose", "find"]

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
ONE_OFF = "com.docker.compose.oneoff"
"""Labels that docker-compose, and ``docker compose``, give what they make."""

RUNNING, PAUSED, STOPPED = "running", "paused", "stopped"
_STATES = {"running": RUNNING, "paused": PAUSED, "exited": STOPPED, "created": STOPPED}

_KEPT_BY = ("com.docker.swarm.", "io.kubernetes.")

Seen = Mapping[str, Any]
"""What ``docker inspect`` tells of a container."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One container that a test is to have as a node.

    Attributes:
        node: the node's name.
        container: the container's id.
        name: the container's name.
        network: the one network that it shares with the others.
        ip: its address there; empty while it is stopped.
        port: where its program listens.
        state: ``running``, ``paused`` or ``stopped``.
        policy: its restart policy, such as ``always``; empty for none.
    """

    node: str
    container: str
    name: str
    network: str
    ip: str
    port: int
    state: str
    policy: str = ""


def find(client: DockerClient, options: Options) -> tuple[Target, ...]:
    """The containers that the options name, in the order of their nodes' names or as given.

    Raises:
        UnknownName: no such container or project, but others of a similar name.
        RequestError: a container is named twice, or its port cannot be told.
        HostError: the project has no containers, or one of them cannot be a node: why, and what to do.
    """
    with engine_errors("cannot look for containers"):
        listed = client.api.containers(all=True)
        wanted = (
            _of_project(listed, options.compose)
            if options.compose
            else _named(listed, options.containers)
        )
        seen = {node: client.api.inspect_container(one["Id"]) for node, one in wanted.items()}
        names = {name for one in seen.values() for name in _networks(one)}
        networks = {name: client.api.inspect_network(name) for name in sorted(names)}
    return choose(seen, networks, options.port)


def _of_project(listed: Sequence[Seen], project: str) -> dict[str, Seen]:
    ours: dict[str, list[Seen]] = {}
    projects = set()
    for one in listed:
        labels = one.get("Labels") or {}
        if PROJECT not in labels or labels.get(ONE_OFF, "False").lower() == "true":
            continue
        projects.add(labels[PROJECT])
        if labels[PROJECT] == project:
            ours.setdefault(labels.get(SERVICE, ""), []).append(one)
    if not ours:
        unknown = UnknownName("compose project", project, projects)
        if unknown.near:
            raise unknown
        raise HostError(
            f"the compose project {project!r} has no containers here: start them where its "
            f"docker-compose.yml is, by docker-compose -p {project} up -d"
        )
    nodes = {}
    for service in sorted(ours):
        made = sorted(ours[service], key=_number)
        for one in made:
            nodes[service if len(made) == 1 else f"{service}-{_number(one)}"] = one
    return nodes


def _number(one: Seen) -> int:
    return int(one["Labels"].get(NUMBER, "0"))


def _named(listed: Sequence[Seen], names: Iterable[str]) -> dict[str, Seen]:
    by_name = {name.lstrip("/"): one for one in listed for name in one.get("Names") or ()}
    nodes: dict[str, Seen] = {}
    for name in names:
        one = by_name.get(name)
        if one is None:
            begun = [it for it in listed if len(name) >= 6 and it["Id"].startswith(name)]
            if len(begun) != 1:
                raise UnknownName("container", name, by_name)
            one = begun[0]
        if any(one["Id"] == other["Id"] for other in nodes.values()):
            raise RequestError(f"--container {name}: it is named twice")
        nodes[_name(one)] = one
    return nodes


def _name(one: Seen) -> str:
    """The name without the links of others to it, which the engine lists too."""
    names = [name.lstrip("/") for name in one["Names"]]
    return str(next((name for name in names if "/" not in name), names[0]))


def choose(
    seen: Mapping[str, Seen], networks: Mapping[str, Seen], port: int
) -> tuple[Target, ...]:
    """The targets: pure.

    Args:
        seen: what the engine tells of each node's container.
        networks: the same of each network that any of them has.
        port: where all listen; 0: at the one port that each exposes.

    Raises:
        RequestError: a port cannot be told.
        HostError: one cannot be a node, or they do not share one network.
    """
    for node, one in seen.items():
        _check(node, one)
    network = _shared(seen, networks)
    return tuple(
        Target(
            node=node,
            container=str(one["Id"]),
            name=str(one["Name"]).lstrip("/"),
            network=network,
            ip=str(_networks(one)[network].get("IPAddress") or ""),
            port=port or _port_of(node, one),
            state=_STATES[one["State"]["Status"]],
            policy=_policy(one),
        )
        for node, one in seen.items()
    )


def _check(node: str, one: Seen) -> None:
    state = str(one["State"]["Status"])
    if state not in _STATES:
        raise HostError(
            f"the container of {node} is {state}: let it run, or stand still, before it is tested"
        )
    if one["HostConfig"].get("AutoRemove"):
        raise HostError(
            f"the container of {node} was started with --rm: a kill would remove it; start it without"
        )
    if any(name.startswith(_KEPT_BY) for name in one["Config"].get("Labels") or ()):
        raise HostError(
            f"the container of {node} belongs to an orchestrator, which replaces what is killed; "
            "test containers that docker or docker-compose has started"
        )
    mode = str(one["HostConfig"].get("NetworkMode", ""))
    if mode in ("host", "none") or mode.startswith("container:"):
        raise HostError(
            f"the container of {node} has no network of its own (network mode {mode}): its links "
            "cannot be cut; give it one that the nodes share"
        )


def _networks(one: Seen) -> Mapping[str, Seen]:
    return one["NetworkSettings"].get("Networks") or {}


def _shared(seen: Mapping[str, Seen], networks: Mapping[str, Seen]) -> str:
    """The one network over which every two of them speak: only there links are cut."""
    sets = [set(_networks(one)) for one in seen.values()]
    common = sorted(set.intersection(*sets))
    if not common:
        each = "; ".join(
            f"{node}: {', '.join(sorted(_networks(one))) or 'none'}"
            for node, one in seen.items()
        )
        raise HostError(
            f"the containers share no network ({each}): a test needs one that all have"
        )
    for number, (node, mine) in enumerate(zip(seen, sets, strict=True)):
        for other, theirs in zip(list(seen)[number + 1 :], sets[number + 1 :], strict=True):
            if len(mine & theirs) > 1:
                raise HostError(
                    f"{node} and {other} share the networks {', '.join(sorted(mine & theirs))}: a "
                    "cut of one would leave the other; let them share one"
                )
    (name,) = common if len(seen) > 1 else common[:1]
    facts = networks[name]
    if facts.get("Driver") != "bridge":
        raise HostError(
            f"network {name} has the driver {facts.get('Driver')}: only a bridge of this machine "
            "lets a test reach its containers"
        )
    if facts.get("EnableIPv6"):
        raise HostError(
            f"network {name} has IPv6, by which nodes may pass a cut: links are cut by IPv4 "
            "addresses alone; make it without enable_ipv6"
        )
    return name


def _port_of(node: str, one: Seen) -> int:
    exposed = _tcp(one["Config"].get("ExposedPorts") or ())
    published = _tcp(one["HostConfig"].get("PortBindings") or ())
    for ports in (exposed, published):
        if len(ports) == 1:
            return ports[0]
    told = ", ".join(map(str, exposed or published)) or "none"
    raise RequestError(
        f"the container of {node} exposes more or less than one TCP port ({told}): say where all "
        "nodes listen, by --option port=8000"
    )


def _tcp(ports: Iterable[str]) -> list[int]:
    return sorted(int(port.partition("/")[0]) for port in ports if not port.endswith("/udp"))


def _policy(one: Seen) -> str:
    name = str((one["HostConfig"].get("RestartPolicy") or {}).get("Name", ""))
    return "" if name == "no" else name
