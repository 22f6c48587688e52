"""How many bytes a TCP socket of this machine has received, and who dialled whom, from the kernel.

The kernel tells any user, by netlink's sock_diag(7), for each socket the ``tcp_info`` that holds
``tcpi_bytes_received``.  That is a witness of arrival that neither a proxy nor a node can colour.

Example::

    for socket in received(4001):
        print(socket.peer_port, socket.bytes_received)
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import msgspec

__all__ = ["Received", "dialled", "received"]

_SOCK_DIAG = 4
_BY_FAMILY = 20
_DONE = 3
_ERROR = 2
_REQUEST_DUMP = 0x301
_INFO = 2
_ESTABLISHED = 1 << 1
_STATES = (
    _ESTABLISHED | (1 << 4) | (1 << 5) | (1 << 8)
)  # established, both fin-waits, close-wait
_BYTES_RECEIVED_AT = 128
_MESSAGE_BYTES = 72
_PEER_AT, _INODE_AT = 24, 68
_LOOPBACK = socket.inet_aton("127.0.0.1")


class Received(msgspec.Struct, frozen=True):
    """One connection of a local port: its other end's port, and the bytes that came from there."""

    peer_port: int
    bytes_received: int


def received(port: int) -> tuple[Received, ...]:
    """All connections of the local TCP port (IPv4), in the kernel's order.

    Raises:
        OSError: the kernel does not tell (no sock_diag in this sandbox).
    """
    found = (_parse(message, port) for message in _dump(_STATES))
    return tuple(one for one in found if one is not None)


def dialled(port: int) -> frozenset[int]:
    """The inodes of the sockets of this machine that are connected with that port of the loopback.

    ``/proc/PID/fd`` tells whose they are.

    Raises:
        OSError: the kernel does not tell.
    """
    return frozenset(
        struct.unpack_from("=I", message, _INODE_AT)[0]
        for message in _dump(_ESTABLISHED)
        if struct.unpack_from("!H", message, 6)[0] == port
        and message[_PEER_AT : _PEER_AT + 4] == _LOOPBACK
    )


def _dump(states: int) -> Iterator[bytes]:
    """One message for each IPv4 TCP socket in one of the states: a struct inet_diag_msg."""
    body = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 1 << (_INFO - 1), states)
    body += struct.pack("!HH", 0, 0) + bytes(36) + b"\xff" * 8
    header = struct.pack("=IHHII", 16 + len(body), _BY_FAMILY, _REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as link:
        link.settimeout(1.0)
        link.send(header + body)
        while True:
            data = link.recv(1 << 18)
            while data:
                length, kind = struct.unpack_from("=IH", data)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    code = -struct.unpack_from("=i", data, 16)[0]
                    raise OSError(code, "sock_diag is refused")
                yield data[16:length]
                data = data[(length + 3) & ~3 :]


def _parse(message: bytes, port: int) -> Received | None:
    source, peer = struct.unpack_from("!HH", message, 4)
    if source != port:
        return None
    at = _MESSAGE_BYTES
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if kind == _INFO and length >= 4 + _BYTES_RECEIVED_AT + 8:
            count = struct.unpack_from("=Q", message, at + 4 + _BYTES_RECEIVED_AT)[0]
            return Received(peer, count)
        at += (max(length, 4) + 3) & ~3
    return None
