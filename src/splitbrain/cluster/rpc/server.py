"""What a node offers on its port.

    tikvpb.Tikv             transactional and raw operations; see ``tikv_service``
    pdpb.PD                 the placement driver; see ``pd_service``
    grpc.health.v1.Health   clients ask it after a failed send
    minitikv.Requests       what TiKV's protocol has no word for; see ``own_service``
    minitikv.Peers          the other nodes' streams

Each request becomes ``receive(sender, request)`` of the node, and the node's answer to that sender
ends the call.  Anything else is UNIMPLEMENTED, as gRPC says by itself.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, get_args

import grpc
import grpc.aio
import msgspec

from splitbrain.cluster import messages as m
from splitbrain.cluster.messages.txn import ListRecords
from splitbrain.cluster.rpc import health_pb2 as health
from splitbrain.cluster.rpc.handlers import service, unary
from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.options import SERVER
from splitbrain.cluster.rpc.own_service import OwnService
from splitbrain.cluster.rpc.pd import StaticPd
from splitbrain.cluster.rpc.pd_service import PdService
from splitbrain.cluster.rpc.tikv_service import TikvService
from splitbrain.cluster.rpc.translate import METHODS
from splitbrain.cluster.rpc.transport import EXCHANGE, FROM, INCARNATION, TO, GrpcTransport

__all__ = ["Server", "check_port"]


def check_port(listen: str) -> None:
    """Find out whether a port can be had, with the operating system's own reason if not.

    gRPC tells only that it failed.  Between this and gRPC's own bind another process may still be
    faster; then gRPC's failure is all there is.

    Raises:
        OSError: such as EADDRINUSE or EACCES.
        ValueError: not host:port.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"listen address {listen!r} is not host:port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host.strip("[]"), int(port)))
        probe.listen(1)


class Server:
    """One node's gRPC server.

    Args:
        listen: host:port.
        names: the stores, their numbers and addresses.
        transport: carries messages into the node.
        pd: answers as placement driver; None: the node itself does.
        cluster_id: requests that name another cluster are refused.
        serves: kinds of clients' requests that the node takes.
    """

    def __init__(
        self,
        listen: str,
        names: Names,
        transport: GrpcTransport,
        pd: StaticPd | None,
        cluster_id: int,
        *,
        serves: Collection[type[Any]] = tuple(METHODS),
    ) -> None:
        self._listen = listen
        self._transport = transport
        self._server: Any = grpc.aio.server(options=SERVER)
        tikv = TikvService(transport.ask, names, cluster_id, serves)
        driver = PdService(transport.ask if pd is None else _static(pd), names, cluster_id)
        driver_requests = get_args(m.PdRequest) if pd is None else ()
        own = OwnService(transport.ask, (*serves, ListRecords, *driver_requests))
        health_check = {"Check": unary(_check_health, health.HealthCheckRequest)}
        self._server.add_generic_rpc_handlers(
            (
                service("tikvpb.Tikv", tikv.methods()),
                service("pdpb.PD", driver.methods()),
                service("grpc.health.v1.Health", health_check),
                service("minitikv.Requests", own.methods()),
                service(*self._peers()),
            )
        )

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            OSError: the port cannot be had.
        """
        check_port(self._listen)
        try:
            self._server.add_insecure_port(self._listen)
        except RuntimeError as error:
            raise OSError(errno.EADDRINUSE, f"gRPC could not bind {self._listen}") from error
        await self._server.start()

    async def close(self) -> None:
        """End all calls and streams at once."""
        await self._server.stop(None)

    def _peers(self) -> tuple[str, Mapping[str, Any]]:
        service, method = EXCHANGE.strip("/").split("/")
        return service, {method: grpc.stream_unary_rpc_method_handler(self._exchange)}

    async def _exchange(self, batches: AsyncIterator[bytes], context: Any) -> bytes:
        """Take a peer's stream until it ends."""
        said = dict(context.invocation_metadata())
        peer, meant = said.get(FROM, ""), said.get(TO, "")
        if not self._transport.knows(peer) or meant != self._transport.node:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"this is {self._transport.node}; the stream is from {peer!r} to {meant!r}",
            )
        incarnation = int(said.get(INCARNATION, 0))
        # The sender counts the link as up when this arrives, and sends nothing before.
        await context.send_initial_metadata(())
        async for batch in batches:
            try:
                self._transport.arrived(peer, incarnation, batch)
            except msgspec.DecodeError as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"bad frames: {error}")
        return b""


async def _check_health(_: Any, __: Any) -> Any:
    return health.HealthCheckResponse(status=health.HealthCheckResponse.SERVING)


def _static(pd: StaticPd) -> Any:
    async def ask(request: Any) -> Any:
        return pd.answer(request)

    return ask
