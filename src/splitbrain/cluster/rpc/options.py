"""How channels and servers are tuned, so that a link that comes back is used within a second.

With gRPC's defaults a link that was reset waited up to six seconds after its return, because the
pause between attempts grows (to 120 s after a long cut).  Here it never grows beyond half a second,
and a connection on which nothing comes back is given up after a second and a half.
"""

from __future__ import annotations

__all__ = ["CHANNEL", "SERVER"]

CHANNEL: tuple[tuple[str, int], ...] = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 1000),
    ("grpc.keepalive_timeout_ms", 500),
    # Without this one (default: a minute) an unanswered ping of keepalive is waited for in vain.
    ("grpc.http2.ping_timeout_ms", 500),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
    # Whether an operation may be sent twice is decided by our client, never below it.
    ("grpc.enable_retries", 0),
    # A proxy named in the environment must not come between nodes.
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)
"""Options of each channel that a node or our client opens."""

SERVER: tuple[tuple[str, int], ...] = (
    ("grpc.http2.min_ping_interval_without_data_ms", 100),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 100),
    ("grpc.http2.max_ping_strikes", 0),
    # Two nodes on one port would share its connections; the second must be refused.
    ("grpc.so_reuseport", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)
"""Options of each node's server."""
