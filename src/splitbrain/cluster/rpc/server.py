"""What a store offers on its port.

    tikvpb.Tikv             raw operations: each becomes ``receive(sender, request)`` of the node,
                            and the node's answer to that sender ends the call
    pdpb.PD                 the static placement driver
    grpc.health.v1.Health   clients ask it after a failed send
    minitikv.Peers          the other nodes' streams

Anything else is UNIMPLEMENTED, as gRPC says by itself.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
import msgspec

from splitbrain.cluster.rpc import health_pb2 as health
from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.options import SERVER
from splitbrain.cluster.rpc.pd import StaticPd
from splitbrain.cluster.rpc.translate import METHODS, Refused, answer_to_wire, request_from_wire
from splitbrain.cluster.rpc.transport import EXCHANGE, FROM, INCARNATION, TO, GrpcTransport

__all__ = ["Server", "check_port"]

Handle = Callable[[Any, Any], Awaitable[Any]]


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
        names: the stores and their numbers.
        transport: carries messages into the node.
        pd: answers as placement driver.
        cluster_id: requests that name another cluster are refused.
    """

    def __init__(
        self, listen: str, names: Names, transport: GrpcTransport, pd: StaticPd, cluster_id: int
    ) -> None:
        self._listen = listen
        self._names = names
        self._transport = transport
        self._cluster_id = cluster_id
        self._server: Any = grpc.aio.server(options=SERVER)
        self._server.add_generic_rpc_handlers(
            (
                _service("tikvpb.Tikv", self._tikv()),
                _service("pdpb.PD", self._pd(pd)),
                _service(
                    "grpc.health.v1.Health", {"Check": _unary(self._check_health, _Health)}
                ),
                _service(*self._peers()),
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

    def _tikv(self) -> Mapping[str, Any]:
        return {
            method.path.rpartition("/")[2]: _unary(self._serve(method.response), method.request)
            for method in METHODS.values()
        }

    def _serve(self, response: Any) -> Handle:
        """The handler of one raw method."""
        tells_error = "error" in response.DESCRIPTOR.fields_by_name

        async def serve(wire: Any, context: Any) -> Any:
            cluster_id = wire.context.cluster_id
            if cluster_id and cluster_id != self._cluster_id:
                await context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"the request is for cluster {cluster_id}; this is {self._cluster_id}",
                )
            try:
                request = request_from_wire(wire)
            except Refused as refused:
                if tells_error:
                    return response(error=str(refused))
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, str(refused))
                raise
            return answer_to_wire(await self._transport.ask(request), self._names)

        return serve

    def _pd(self, pd: StaticPd) -> Mapping[str, Any]:
        def handler(answer: Callable[[Any], Any]) -> Handle:
            async def handle(wire: Any, _: Any) -> Any:
                return answer(wire)

            return handle

        return {
            name: _unary(handler(answer), request)
            for name, (request, answer) in pd.methods().items()
        }

    async def _check_health(self, _: Any, __: Any) -> Any:
        return health.HealthCheckResponse(status=health.HealthCheckResponse.SERVING)

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


_Health = health.HealthCheckRequest


def _unary(handle: Handle, request: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=request.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )


def _service(name: str, methods: Mapping[str, Any]) -> Any:
    return grpc.method_handlers_generic_handler(name, dict(methods))
