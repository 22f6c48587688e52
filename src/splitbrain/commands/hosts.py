"""The hosts of ``--on ssh``: from the words of a command line to the option ``hosts`` and the nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import RequestError
from splitbrain.substrates.ssh.hosts import choose_hosts, split_hosts

__all__ = ["host_nodes", "host_options"]


def host_options(given: Mapping[str, Any]) -> dict[str, str]:
    """What ``--node`` and ``--hosts`` stand for.

    Raises:
        RequestError: they are not for ``--on ssh``, a host is malformed, or not the user's own.
    """
    nodes, file, own = given.get("hosts", ()), given.get("hosts_file"), bool(given.get("own"))
    if (nodes or file or own) and given["substrate"] != "ssh":
        raise RequestError(
            "--node, --hosts and --yes-i-own-these-hosts go with --on ssh; leave them out"
        )
    return {"hosts": choose_hosts(nodes, file, own=own)} if nodes or file else {}


def host_nodes(options: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, ...]:
    """The nodes' names: those of the hosts; none if the test is not on hosts.

    Raises:
        RequestError: the hosts are malformed, or more or fewer than ``--nodes`` says.
    """
    if given["substrate"] != "ssh" or "hosts" not in options:
        return ()
    names = tuple(entry.name for entry in split_hosts(str(options["hosts"])))
    if given["nodes"] not in (len(names), len(TestSpec(workload="").nodes)):
        raise RequestError(
            f"--nodes {given['nodes']}, but {len(names)} hosts: each is a node; leave --nodes out"
        )
    return names
