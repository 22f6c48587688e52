"""An engine that stands before the real one and refuses, drops or withholds what it is told to."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
from pathlib import Path
from typing import Any

REAL = "/var/run/docker.sock"


class FakeEngine:
    """A Unix socket that hands each request on, but for those that match a rule.

    Attributes:
        rules: (pattern of "METHOD path", what to do): a (status, message), ``hang`` or ``die``.
        dead: True once it has died: every connection is closed at once.
        seen: "METHOD path" of every request.
    """

    def __init__(self, path: Path, *rules: tuple[str, Any]) -> None:
        self.rules = list(rules)
        self.dead = False
        self.seen: list[str] = []
        self.url = f"unix://{path}"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(64)
        self._released = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Refuse connections; let go of all that hangs."""
        self._released.set()
        self._socket.close()

    def cut(self) -> None:
        """Break off every connection that there is."""
        while self._open:
            with contextlib.suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            stream = connection.makefile("rb")
            words = stream.readline().decode().split()
            if len(words) < 2 or self.dead:
                return
            headers = http.client.parse_headers(stream)
            body = stream.read(int(headers.get("Content-Length") or 0))
            asked = f"{words[0]} {words[1]}"
            self.seen.append(asked)
            for pattern, act in self.rules:
                if re.search(pattern, asked):
                    self._break(connection, act)
                    return
            self._hand_on(connection, words, headers, body)

    def _break(self, connection: socket.socket, act: Any) -> None:
        if act == "hang":
            self._released.wait()
        elif act == "die":
            self.dead = True
        else:
            status, message = act
            text = json.dumps({"message": message}).encode()
            connection.sendall(_head(status, len(text)) + text)

    def _hand_on(self, to: socket.socket, words: list[str], headers: Any, body: bytes) -> None:
        real = http.client.HTTPConnection("localhost")
        real.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(real):
            real.sock.connect(REAL)
            kept = {k: v for k, v in headers.items() if k.lower() != "connection"}
            real.request(words[0], words[1], body, {**kept, "Connection": "close"})
            answer = real.getresponse()
            kind = answer.headers.get("Content-Type", "application/json")
            to.sendall(_head(answer.status, answer.length, kind))
            while not self.dead and (part := answer.read1()):
                to.sendall(part if answer.length is not None else _chunk(part))
            if answer.length is None:
                to.sendall(_chunk(b""))


def _chunk(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part)


def _head(status: int, length: int | None, kind: str = "application/json") -> bytes:
    chunked = "Transfer-Encoding: chunked\r\n"
    size = chunked if length is None else f"Content-Length: {length}\r\n"
    lines = f"HTTP/1.1 {status} {http.client.responses.get(status, 'Odd')}\r\n"
    return f"{lines}Content-Type: {kind}\r\n{size}Connection: close\r\n\r\n".encode()
