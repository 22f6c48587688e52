"""The process of one store: ``python -m splitbrain.cluster.node CONFIG.json``.

The file, with what may be left out in brackets:

    {
      "store":      {"node": "n1", "nodes": ["n1", "n2", "n3"], ...},   StoreConfig
      "addresses":  {"n1": "127.0.0.1:4001", "n2": ...},   advertised host:port of every store
      "data_dir":   "/run/n1/data",
      ["pd"]:       {"node": "n1", "nodes": ["n1", "n2", "n3"], ...},   PdConfig: a member is here
      ["dial"]:     {"n2": "127.0.0.1:5012"},   where to dial a peer instead (a proxy)
      ["listen"]:   "127.0.0.1:4001",           instead of the own advertised address
      ["control"]:  "/run/n1/control.sock",     or SPLITBRAIN_CONTROL; none: no control socket
      ["events"]:   "/run/n1/events.jsonl",     or SPLITBRAIN_EVENTS; none: no events
      ["power"]:    false,                      keep un-fsynced bytes in the process; or
                                                SPLITBRAIN_POWER=1
      ["seed"]:     0,
      ["cluster_id"]: 1
    }

The control socket answers ``ping`` once the port is open and the store has begun to recover.

Exit codes, each but the first two with one line on stderr:

    0   SIGTERM or SIGINT                    2   the configuration is malformed
    70  a callback raised: a traceback       74  the disk failed at the start
    96  the log is corrupt                   97  no permission
    98  the port is taken
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.factory import build_node
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.pd import StaticPd
from splitbrain.cluster.rpc.server import Server
from splitbrain.cluster.rpc.transport import GrpcTransport
from splitbrain.cluster.storage.records import CorruptLog
from splitbrain.env import Shell
from splitbrain.env.control import ControlServer
from splitbrain.env.real import RealEnv, crash
from splitbrain.env.verbs import Verbs
from splitbrain.errors import RequestError, SplitbrainError

__all__ = [
    "EXIT_CORRUPT",
    "EXIT_DISK",
    "EXIT_MALFORMED",
    "EXIT_PERMISSION",
    "EXIT_PORT",
    "NodeConfig",
    "main",
]

EXIT_MALFORMED = 2
EXIT_DISK = 74
EXIT_CORRUPT = 96
EXIT_PERMISSION = 97
EXIT_PORT = 98


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node process is told; see the module."""

    store: StoreConfig
    addresses: Mapping[str, str]
    data_dir: str
    pd: PdConfig | None = None
    dial: Mapping[str, str] = {}
    listen: str = ""
    control: str = ""
    events: str = ""
    power: bool = False
    seed: int = 0
    cluster_id: int = 1

    @classmethod
    def from_json(cls, data: bytes, environment: Mapping[str, str]) -> NodeConfig:
        """Read the file's bytes; what it leaves out may stand in the environment.

        Raises:
            RequestError: it is malformed; the message says where.
        """
        try:
            config = msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, SplitbrainError) as error:
            raise RequestError(f"malformed configuration: {error}") from error
        missing = [node for node in config.store.nodes if node not in config.addresses]
        if missing:
            raise RequestError(f"malformed configuration: no address of {', '.join(missing)}")
        return msgspec.structs.replace(
            config,
            listen=config.listen or config.addresses[config.store.node],
            control=config.control or environment.get("SPLITBRAIN_CONTROL", ""),
            events=config.events or environment.get("SPLITBRAIN_EVENTS", ""),
            power=config.power or environment.get("SPLITBRAIN_POWER") == "1",
        )

    def peer_addresses(self) -> dict[str, str]:
        """Where to dial each other store."""
        own = self.store.node
        return {
            node: self.dial.get(node, self.addresses[node])
            for node in self.store.nodes
            if node != own
        }


class Node:
    """All that one process holds: environment, store, server and control socket."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        store = config.store
        self._env = RealEnv(
            node=store.node,
            peers=store.nodes,
            data_dir=config.data_dir,
            seed=config.seed,
            power=config.power,
            events=config.events,
        )
        self._transport = GrpcTransport(store.node, config.peer_addresses(), self._env.receive)
        self._env.transport = self._transport
        self._shell: Shell = build_node(store, config.pd, self._env)
        names = Names(store.nodes, config.addresses)
        pd = None if store.pd else StaticPd(store.node, names, self._leader)
        self._server = Server(config.listen, names, self._transport, pd, config.cluster_id)
        self._control: ControlServer | None = None
        if config.control:
            verbs = Verbs(self._env, self._transport)
            self._control = ControlServer(config.control, verbs.handle, crash)

    async def start(self) -> None:
        """Open the port, recover, dial the peers, answer the control socket; in this order.

        A port that is taken is found out before anything is written.
        """
        await self._server.start()
        self._shell.start()
        self._env.attach(self._shell)
        self._transport.start()
        if self._control is not None:
            await self._control.start()

    async def stop(self) -> None:
        """An orderly end: what the disk was asked for is done.  Connections end with the process."""
        if self._control is not None:
            await self._control.close()
        self._env.close()

    def _leader(self) -> str:
        return str(self._shell.status().get("leader", ""))


async def _run(config: NodeConfig) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    node = Node(config)
    await node.start()
    await stopping.wait()
    await node.stop()


def main(arguments: list[str]) -> int:
    """Run one node until it is told to end; the process's exit code."""
    if len(arguments) != 1:
        return _fail(EXIT_MALFORMED, "usage: python -m splitbrain.cluster.node CONFIG.json")
    path = arguments[0]
    try:
        config = NodeConfig.from_json(Path(path).read_bytes(), os.environ)
        asyncio.new_event_loop().run_until_complete(_run(config))
    except CorruptLog as error:
        return _fail(EXIT_CORRUPT, str(error))
    except SplitbrainError as error:
        return _fail(EXIT_MALFORMED, f"{path}: {error}")
    except OSError as error:
        return _fail(_exit_code(error), f"{path}: {error.strerror or error}{_where(error)}")
    return 0


def _exit_code(error: OSError) -> int:
    if error.errno == errno.EADDRINUSE:
        return EXIT_PORT
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) or isinstance(
        error, PermissionError
    ):
        return EXIT_PERMISSION
    return EXIT_MALFORMED if isinstance(error, FileNotFoundError) else EXIT_DISK


def _where(error: OSError) -> str:
    name: Any = error.filename
    return f": {name}" if name else ""


def _fail(code: int, line: str) -> int:
    print(f"node: {line}", file=sys.stderr, flush=True)  # noqa: T201
    return code


if __name__ == "__main__":
    # No tidying up of gRPC's threads and tasks: it takes time, and says things in the log.
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
