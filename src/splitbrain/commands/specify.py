"""From the words of ``splitbrain run`` to a TestSpec; what makes no sense is refused in one line."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.catalog import Catalog, inside_model, make_system
from splitbrain.commands.fitting import fit
from splitbrain.commands.hosts import host_nodes, host_options
from splitbrain.commands.schedule import find_schedule
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import RequestError

__all__ = ["concurrency_of", "faults_of", "make_spec", "options_of"]


def make_spec(given: Mapping[str, Any], catalog: Catalog) -> TestSpec:
    """The spec of a command line; its seed is drawn if none is given.

    Raises:
        RequestError: a word that means nothing, or an unknown name.
        Unsupported: a schedule's fault that is not possible here.
    """
    options = {**options_of(given["options"]), **attach_options(given), **host_options(given)}
    if given.get("checks"):
        options["check"] = ",".join(given["checks"])
    nodes = attached_nodes(options, given) or host_nodes(options, given)
    nodes = nodes or numbered_nodes(given["nodes"])
    seed = given["seed"]
    spec = TestSpec(
        workload=given["workload"],
        system=given["system"],
        substrate=given["substrate"],
        nodes=nodes,
        concurrency=concurrency_of(given["concurrency"], len(nodes)),
        rate_hz=given["rate"],
        time_limit_s=given["time_limit"],
        nemesis_interval_s=given["nemesis_interval"],
        seed=secrets.randbelow(1_000_000) if seed is None else seed,
        bugs=tuple(dict.fromkeys(given["bugs"])),
        options=options,
        load=given["load"],
    )
    make_system(
        spec, catalog
    )  # an unknown system is told before a schedule is looked for in it
    asked = faults_of(given["nemesis"])
    if "all" in asked:
        asked = inside_model(spec, catalog) + asked
    asked = tuple(dict.fromkeys(name for name in asked if name != "all"))
    spec = msgspec.structs.replace(spec, nemesis=asked)
    skip = bool(given.get("skip_unsupported"))
    if given["faults"] is None:
        if skip:
            raise RequestError("--skip-unsupported goes with --faults FILE; leave it out")
        return spec
    schedule, left_out = fit(
        find_schedule(given["faults"], spec, catalog), spec, catalog, skip=skip
    )
    return msgspec.structs.replace(spec, schedule=schedule, left_out=left_out)


def numbered_nodes(count: int) -> tuple[str, ...]:
    """The names of nodes that a run makes."""
    if count < 1:
        raise RequestError(f"--nodes {count} must be at least 1")
    return tuple(f"n{i + 1}" for i in range(count))


def attach_options(given: Mapping[str, Any]) -> dict[str, str]:
    """What ``--compose`` and ``--container`` stand for.

    >>> attach_options({"compose": None, "containers": ("a", "b")})
    {'containers': 'a,b'}
    """
    options = {}
    if given.get("compose"):
        options["compose"] = str(given["compose"])
    if given.get("containers"):
        options["containers"] = ",".join(given["containers"])
    return options


def attached_nodes(
    options: Mapping[str, str | int | float | bool], given: Mapping[str, Any]
) -> tuple[str, ...]:
    """The nodes of containers that are there already; none if the test does not ask for such.

    Raises:
        RequestError: the words do not go together, or name no container.
        HostError: no engine answers, or these containers cannot be nodes.
    """
    if not options.keys() & {"compose", "containers"}:
        return ()
    if given["substrate"] != "docker":
        raise RequestError(
            f"--compose and --container go with --on docker, not with --on {given['substrate']}"
        )
    from splitbrain.substrates.docker.attached import node_names

    names = node_names(TestSpec(workload="", options=options))
    if given["nodes"] not in (len(names), len(TestSpec(workload="").nodes)):
        raise RequestError(
            f"--nodes {given['nodes']}: these containers are {len(names)} nodes; leave --nodes out"
        )
    return names


def faults_of(text: str) -> tuple[str, ...]:
    """The names of ``--nemesis``.

    >>> faults_of("partition, kill"), faults_of("none")
    (('partition', 'kill'), ())
    """
    names = tuple(name for name in (part.strip() for part in text.split(",")) if name)
    if "none" not in names:
        return names
    if len(names) > 1:
        raise RequestError(f"--nemesis {text!r}: none cannot be joined with other faults")
    return ()


def options_of(pairs: Sequence[str]) -> dict[str, str | int | float | bool]:
    """The values of ``--option``, each as the number or truth value that it looks like.

    >>> options_of(["keys=3", "scale=0.5", "proxies=false", "read-from=leader"])
    {'keys': 3, 'scale': 0.5, 'proxies': False, 'read-from': 'leader'}
    """
    options: dict[str, str | int | float | bool] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise RequestError(f"--option {pair!r}: write it as NAME=VALUE")
        options[name] = _scalar(value)
    return options


def _scalar(text: str) -> str | int | float | bool:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def concurrency_of(text: str, nodes: int) -> int:
    """Workers, as a number or a multiple of the nodes.

    >>> concurrency_of("10", 5), concurrency_of("2n", 5)
    (10, 10)
    """
    number = text.removesuffix("n")
    if not (number.isascii() and number.isdigit()) or not 0 < int(number[:7]) <= 100_000:
        raise RequestError(
            f"--concurrency {text!r}: a number such as 10, or a multiple of nodes such as 2n"
        )
    return int(number) * (nodes if text.endswith("n") else 1)
