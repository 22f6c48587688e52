"""The kernel's packet queue (nfnetlink_queue), spoken to over a netlink socket.

Packets come whole and one by one: without the flag NFQA_CFG_F_GSO the kernel cuts what a network
card would cut, and completes every checksum.  What is not judged when the socket closes is dropped.

Message formats: Linux's include/uapi/linux/netfilter/nfnetlink_queue.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from .asking import Refused

__all__ = ["DROP", "INPUT", "OUTPUT", "Packet", "Queue"]

DROP = 0
_REPEAT = 4
INPUT, OUTPUT = 1, 3
"""Hooks of the kernel."""

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 3 << 8
_PACKET, _VERDICT, _CONFIG = _SUBSYSTEM | 0, _SUBSYSTEM | 1, _SUBSYSTEM | 2
_ERROR = 2
_REQUEST, _ACK = 1, 4
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 16 << 20
_LENGTH_MAX = 16_384
_COPY_PACKET = 2
_RANGE = 0xFFFF
_BIND = 1

_HEAD = struct.Struct("=IHHII")
_GENERAL = struct.Struct("!BBH")
_ATTRIBUTE = struct.Struct("=HH")
_PACKET_HEAD = struct.Struct("!IHB")
_A_HEAD, _A_MARK, _A_PAYLOAD = 1, 3, 10
_C_COMMAND, _C_PARAMETERS, _C_LENGTH = 1, 2, 3
_A_VERDICT = 2
_BATCH = 64


class Packet(NamedTuple):
    """A packet that waits for its verdict.

    Attributes:
        number: names it to the kernel.
        hook: ``INPUT`` or ``OUTPUT``.
        data: from its IPv4 header on.
    """

    number: int
    hook: int
    data: bytes


def _attribute(kind: int, data: bytes) -> bytes:
    padding = -len(data) % 4
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data + bytes(padding)


def _message(kind: int, queue: int, body: bytes, *, flags: int, number: int = 0) -> bytes:
    general = _GENERAL.pack(socket.AF_UNSPEC, 0, queue)
    length = _HEAD.size + len(general) + len(body)
    return _HEAD.pack(length, kind, _REQUEST | flags, number, 0) + general + body


class Queue:
    """One bound queue.

    Raises:
        Refused: the kernel has no such queues, or somebody else has bound this one.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._buffer = bytearray(1 << 17)
        self.overruns = 0
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        except OSError as error:
            raise Refused(f"the kernel has no nfnetlink: {error.strerror}") from None
        try:
            self._socket.settimeout(2.0)
            self._configure(_attribute(_C_COMMAND, struct.pack("!BBH", _BIND, 0, 0)))
            self._configure(
                _attribute(_C_PARAMETERS, struct.pack("!IB", _RANGE, _COPY_PACKET))
                + _attribute(_C_LENGTH, struct.pack("!I", _LENGTH_MAX))
            )
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            raise Refused(f"packet queue {number} cannot be bound: {error.strerror}") from None

    def _configure(self, attributes: bytes) -> None:
        self._socket.send(_message(_CONFIG, self._number, attributes, flags=_ACK))
        answer = self._socket.recv(4096)
        _, kind, _, _, _ = _HEAD.unpack_from(answer)
        (code,) = struct.unpack_from("=i", answer, _HEAD.size)
        if kind != _ERROR or code:
            raise OSError(-code, os.strerror(-code))

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def close(self) -> None:
        """Unbind it."""
        self._socket.close()

    def packets(self) -> Iterator[Packet]:
        """Some of the packets that are there now."""
        view = memoryview(self._buffer)
        for _ in range(_BATCH):
            try:
                count = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError:  # more came than the buffer holds: the kernel dropped some
                self.overruns += 1
                continue
            packet = _parse(view[:count])
            if packet is not None:
                yield packet

    def drop(self, packet: Packet) -> None:
        """It never was."""
        self._judge(packet.number, DROP, b"")

    def let_pass(self, packet: Packet, mark: int, data: bytes | None = None) -> None:
        """Let it go through the rules again with this mark; with other bytes if ``data`` is given."""
        more = _attribute(_A_MARK, struct.pack("!I", mark))
        if data is not None:
            more += _attribute(_A_PAYLOAD, data)
        self._judge(packet.number, _REPEAT, more)

    def _judge(self, number: int, verdict: int, more: bytes) -> None:
        body = _attribute(_A_VERDICT, struct.pack("!II", verdict, number)) + more
        try:
            self._socket.send(_message(_VERDICT, self._number, body, flags=0))
        except OSError:  # the packet is gone with its device
            return


def _parse(view: memoryview) -> Packet | None:
    """One packet out of one netlink message."""
    length, kind, _, _, _ = _HEAD.unpack_from(view)
    if kind != _PACKET:
        return None
    at, head, data = _HEAD.size + _GENERAL.size, None, b""
    while at + _ATTRIBUTE.size <= length:
        size, name = _ATTRIBUTE.unpack_from(view, at)
        if name == _A_HEAD:
            head = _PACKET_HEAD.unpack_from(view, at + _ATTRIBUTE.size)
        elif name == _A_PAYLOAD:
            data = bytes(view[at + _ATTRIBUTE.size : at + size])
        at += (size + 3) & ~3
    if head is None or len(data) < 20:
        return None
    return Packet(head[0], head[2], data)
