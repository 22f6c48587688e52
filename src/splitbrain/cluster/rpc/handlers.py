"""gRPC's handlers for what the services offer; serialisation by protobuf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc

__all__ = ["service", "stream", "unary"]


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def unary(handle: Any, request: Any) -> Any:
    """One request, one answer."""
    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=request.FromString, response_serializer=_serialize
    )


def stream(handle: Any, request: Any) -> Any:
    """A stream both ways."""
    return grpc.stream_stream_rpc_method_handler(
        handle, request_deserializer=request.FromString, response_serializer=_serialize
    )


def service(name: str, methods: Mapping[str, Any]) -> Any:
    """All methods of one service."""
    return grpc.method_handlers_generic_handler(name, dict(methods))
