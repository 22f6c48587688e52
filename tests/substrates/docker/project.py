"""Containers as docker-compose would have made them, and whether they are what they were."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from splitbrain.substrates.docker.image import default_tag

OWN = Path(__file__).resolve().parents[3] / "examples" / "own_service"
NODES = ("n1", "n2", "n3")
PORT = 8000
MOVES = frozenset(
    {
        *("State/Pid", "State/StartedAt", "State/FinishedAt", "State/ExitCode"),
        *("NetworkSettings/SandboxID", "NetworkSettings/SandboxKey"),
        *(f"/{it}" for it in ("EndpointID", "IPAddress", "MacAddress")),
    }
)
"""What a container has anew after each start."""


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from flat(part, f"{path}/{name}" if path else name)
    else:
        yield path, value


class Project:
    """Three nodes of the example's service, as docker-compose would have made them."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.name = client, name
        self.network = client.networks.create(
            f"{name}_default", labels={"splitbrain.test": name}
        )
        self.containers = {node: self._make(node) for node in NODES}
        for container in self.containers.values():
            container.start()
        self.before = self.inspect()

    def _make(self, node: str) -> Any:
        api = self.client.api
        peers = ",".join(f"{it}={it}:{PORT}" for it in NODES if it != node)
        command = "python3 /server.py --listen 0.0.0.0:8000 --data /tmp --primary n1"
        marks = {
            "com.docker.compose.project": self.name,
            "com.docker.compose.service": node,
            "com.docker.compose.container-number": "1",
            "com.docker.compose.oneoff": "False",
            "splitbrain.test": self.name,
        }
        endpoint = api.create_endpoint_config(aliases=[node])
        made = api.create_container(
            default_tag(),
            [*command.split(), "--name", node, "--peers", peers],
            name=f"{self.name}_{node}_1",
            labels=marks,
            ports=[PORT],
            user="0",
            host_config=api.create_host_config(
                binds=[f"{OWN / 'server.py'}:/server.py:ro"],
                mem_limit="256m",
                restart_policy={"Name": "always"},
                network_mode=self.network.name,
            ),
            networking_config=api.create_networking_config({self.network.name: endpoint}),
        )
        return self.client.containers.get(made["Id"])

    def inspect(self) -> dict[str, Any]:
        return {
            node: self.client.api.inspect_container(it.id)
            for node, it in self.containers.items()
        }

    def state(self, node: str) -> str:
        return str(self.inspect()[node]["State"]["Status"])

    def rules(self, node: str) -> str:
        pid = self.inspect()[node]["State"]["Pid"]
        argv = ["nsenter", f"--net=/proc/{pid}/ns/net", "iptables", "-S"]
        told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return "\n".join(line for line in told.splitlines() if not line.startswith("-P "))

    def assert_as_before(self, *killed: str) -> None:
        """Nothing differs but what a new start of those that were killed brings."""
        now = self.inspect()
        assert now.keys() == self.before.keys()
        for node in NODES:
            one, other = dict(flat(self.before[node])), dict(flat(now[node]))
            differ = {
                key for key in one.keys() | other.keys() if one.get(key) != other.get(key)
            }
            moved = {key for key in differ if any(key.endswith(it) for it in MOVES)}
            assert differ == (moved if node in killed else set()), node
            if now[node]["State"]["Running"]:
                assert self.rules(node) == ""

    def remove(self) -> None:
        for container in self.containers.values():
            container.remove(force=True, v=True)
        self.network.remove()


KILLED: tuple[tuple[float, str, tuple[str, ...], dict[str, Any]], ...] = (
    (0.3, "partition", (), {"cut": [["n1", "n2"], ["n2", "n1"]]}),
    (0.5, "pause", ("n1",), {}),
    (0.7, "kill", ("n3",), {}),
)
